"""Flags on noise: subjects that a net learns to find in seconds."""

import cv2
import numpy as np

from tsal_dist.boxes.labelled import Shown

WIDTH, HEIGHT = 128, 96
COLORS = ((40, 40, 230), (60, 220, 60), (230, 60, 40), (40, 220, 230))


def draw(boxes, seed, size=(WIDTH, HEIGHT)):
    """A dull picture with a flag of four colours in each box."""
    random = np.random.default_rng(seed)
    coarse = random.integers(60, 170, (12, 16, 1)).repeat(3, 2).astype(np.uint8)
    image_HWC = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    for x1, y1, x2, y2 in np.rint(boxes).astype(int).tolist():
        x, y = (x1 + x2 + 1) // 2, (y1 + y2 + 1) // 2
        corners = ((x1, y1, x, y), (x, y1, x2 + 1, y), (x1, y, x, y2 + 1), (x, y, x2 + 1, y2 + 1))
        for (left, top, right, bottom), color in zip(corners, COLORS, strict=True):
            image_HWC[max(0, top) : bottom, max(0, left) : right] = color
    return image_HWC


def random_boxes(seed, most=2):
    """None, one or two that do not touch."""
    random = np.random.default_rng([seed, 1])
    found = []
    for half in range(int(random.integers(0, most + 1))):
        width, height = random.integers(14, 30, 2)
        x = random.integers(half * WIDTH // 2, half * WIDTH // 2 + WIDTH // 2 - width)
        y = random.integers(0, HEIGHT - height)
        found.append([x, y, x + width, y + height])
    return np.array(found, np.float64).reshape(-1, 4)


def shown(seed, boxes=None):
    boxes_B4 = random_boxes(seed) if boxes is None else np.array(boxes, np.float64).reshape(-1, 4)
    _, jpeg = cv2.imencode(".jpg", draw(boxes_B4, seed), [cv2.IMWRITE_JPEG_QUALITY, 95])
    return Shown(f"v{seed}.avi", 0, jpeg.tobytes(), WIDTH, boxes_B4)
