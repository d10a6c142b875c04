/* A wall clock that is off by as many seconds as the file SOAK_CLOCK says (eight bytes, little endian), for a process
 * and its children: LD_PRELOAD. Monotonic time is left alone, as it is on a host whose clock is set. Waits until a
 * time of day are moved by as much, so that they take as long as they were meant to. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long *off_s;
static int (*wait_until)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static const time_t A_TIME_OF_DAY = 100000000; /* no host is up for three years: below it is monotonic */

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SOAK_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    wait_until = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))dlvsym(
        RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!wait_until)
        wait_until = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))dlsym(
            RTLD_NEXT, "pthread_cond_timedwait");
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED)
        off_s = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && off_s && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *off_s;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec found;
    int failed = clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into)
        *into = now.tv_sec;
    return now.tv_sec;
}

int pthread_cond_timedwait(
    pthread_cond_t *restrict news, pthread_mutex_t *restrict lock, const struct timespec *restrict until) {
    struct timespec real = *until;
    if (off_s && real.tv_sec > A_TIME_OF_DAY)
        real.tv_sec -= *off_s;
    return wait_until(news, lock, &real);
}
