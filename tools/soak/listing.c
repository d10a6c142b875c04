/* Listings as an NFS client's cache gives them: a folder, and a claim, whose name is younger than the seconds in the file
 * SOAK_LISTING (eight bytes, little endian) is not listed yet, for a process and its children: LD_PRELOAD. Who asks for
 * it by its name finds it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile long *stale_s;
static struct dirent64 *(*next_entry)(DIR *);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SOAK_LISTING");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    next_entry = (struct dirent64 * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir64");
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED)
        stale_s = page;
}

static int is_too_young(DIR *folder, const char *name) {
    struct statx found;
    struct timespec now;
    if (!strcmp(name, ".") || !strcmp(name, ".."))
        return 0;
    if (statx(dirfd(folder), name, AT_SYMLINK_NOFOLLOW, STATX_BTIME | STATX_TYPE, &found))
        return 0;
    if (!(found.stx_mask & STATX_BTIME) || !(S_ISDIR(found.stx_mode) || strstr(name, ".claim-")))
        return 0;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now); /* the host's: another library may have set ours off */
    return now.tv_sec - found.stx_btime.tv_sec < *stale_s;
}

struct dirent64 *readdir64(DIR *folder) {
    struct dirent64 *entry = next_entry(folder);
    while (entry && stale_s && *stale_s > 0 && is_too_young(folder, entry->d_name))
        entry = next_entry(folder);
    return entry;
}
