"""The drawn face of SynthME: proportions, colours and skin from one seed, background and light from another."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

SIZE = 224
"""Side of a frame, px."""

MARGIN = 16
"""Pixels drawn around the frame, so that a warp stays inside the picture."""

Field = npt.NDArray[np.float32]


class Face:
    """A face: proportions, colours and skin, all from one seed."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._skin_seed = int(rng.integers(2**63))
        tone = rng.uniform(0, 1)
        dark, light = np.array([92, 62, 48.0]), np.array([236, 200, 178.0])
        self.skin = (dark + (light - dark) * tone) * rng.normal(1, 0.02, 3)
        brown = np.array([70, 48, 34.0]) * (1 - tone) + np.array([150, 112, 70.0]) * tone
        self.hair = brown * rng.uniform(0.25, 1.15) * rng.normal(1, 0.05, 3)
        irises = np.array([[80, 52, 34], [96, 84, 50], [70, 96, 82], [82, 108, 132]], float)
        self.iris = irises[rng.integers(len(irises))] * rng.normal(1, 0.06, 3)
        self.lip = self.skin * np.array([rng.uniform(0.85, 1.0), rng.uniform(0.55, 0.72), rng.uniform(0.6, 0.78)])
        self.width, self.jaw = rng.uniform(0.70, 0.84), rng.uniform(1.9, 2.6)
        self.eye_x, self.eye_y = rng.uniform(0.28, 0.32), rng.uniform(-0.14, -0.10)
        self.eye_w, self.eye_h = rng.uniform(0.115, 0.145), rng.uniform(0.045, 0.065)
        self.brow_y, self.brow_arch = rng.uniform(-0.33, -0.28), rng.uniform(0.02, 0.07)
        self.brow_thick = rng.uniform(0.025, 0.055)
        self.nose_w, self.nose_y = rng.uniform(0.10, 0.15), rng.uniform(0.20, 0.26)
        self.mouth_y, self.mouth_w = rng.uniform(0.48, 0.53), rng.uniform(0.23, 0.29)
        self.lips, self.hair_line = rng.uniform(0.7, 1.3), rng.uniform(0.55, 0.80)
        self.long_hair = bool(rng.random() < 0.45)
        self.beard = float(rng.choice(np.array([0.0, 0.0, rng.uniform(0.1, 0.5)])))
        self.freckles = int(rng.choice(np.array([0, 0, int(rng.integers(20, 90))])))
        self.texture = rng.uniform(0.020, 0.045)

    def draw(self, rng: np.random.Generator, centre: tuple[float, float], half: float) -> Field:
        """The picture of the face with this clip's background and light: float32 `(256, 256, 3)`, RGB, 0..255.

        `rng` is the clip's; the face's centre, in the picture with its margin, and its half height are in px.
        """
        side = SIZE + 2 * MARGIN
        skin_rng = np.random.default_rng(self._skin_seed)
        cx, cy = centre

        def fixed(points: list[tuple[float, float]]) -> npt.NDArray[np.int32]:
            places = np.array([(cx + half * x, cy + half * y) for x, y in points])
            rounded: npt.NDArray[np.int32] = np.rint(places * 16).astype(np.int32)
            return rounded

        def fill(points: list[tuple[float, float]], colour: npt.NDArray[np.float64]) -> None:
            cv2.fillPoly(canvas, [fixed(points)], colour.clip(0, 255).tolist(), cv2.LINE_AA, 4)

        def line(points: list[tuple[float, float]], colour: npt.NDArray[np.float64], thick: float) -> None:
            width = max(1, round(thick * half))
            cv2.polylines(canvas, [fixed(points)], False, colour.clip(0, 255).tolist(), width, cv2.LINE_AA, 4)

        def oval(x: float, y: float, w: float, h: float, a0: float = 0, a1: float = 360) -> list[tuple[float, float]]:
            t = np.radians(np.linspace(a0, a1, 40))
            return [(x + w * float(c), y + h * float(s)) for c, s in zip(np.cos(t), np.sin(t), strict=True)]

        canvas = np.empty((side, side, 3), np.float32)
        canvas[:] = rng.uniform(40, 220) + rng.normal(0, 8, 3)
        blotches = rng.normal(0, 12, (5, 5)).astype(np.float32)
        canvas += cv2.resize(blotches, (side, side), interpolation=cv2.INTER_CUBIC)[..., None]

        if self.long_hair:
            fill(oval(0, 0.1, self.width + 0.22, 1.15), self.hair)
        shirt = rng.uniform(30, 200, 3)
        fill([(-1.4, 1.6), (-1.1, 1.15), (-0.35, 1.0), (0.35, 1.0), (1.1, 1.15), (1.4, 1.6)], shirt)
        fill([(-0.36, 0.6), (0.36, 0.6), (0.42, 1.12), (-0.42, 1.12)], self.skin * 0.82)
        fill(oval(0, -0.12, self.width + 0.08, 0.99, 180, 360), self.hair)

        t = np.radians(np.linspace(0, 360, 80, endpoint=False))
        s, c = np.sin(t), np.cos(t)
        narrow = np.where(s > 0, np.abs(c) ** (self.jaw / 2.4), np.abs(c) ** 0.9) * np.sign(c)
        head = [(float(self.width * x), float(y)) for x, y in zip(narrow, s, strict=True)]
        fill(head, self.skin)
        face_mask = np.zeros((side, side), np.float32)
        cv2.fillPoly(face_mask, [fixed(head)], 1.0, cv2.LINE_AA, 4)
        crown = [(x, y) for x, y in head if y < -self.hair_line]
        fill([*crown, (0, -self.hair_line + 0.05)], self.hair)

        dark = self.skin * 0.62
        for m in (-1, 1):
            ex, ey = m * self.eye_x, self.eye_y
            fill(oval(ex, ey, self.eye_w * 1.35, self.eye_h * 2.3), self.skin * 0.93)
            fill(oval(ex, ey, self.eye_w, self.eye_h), np.array([228, 224, 220.0]))
            fill(oval(ex, ey, self.eye_h * 0.95, self.eye_h * 0.95), self.iris)
            fill(oval(ex, ey, self.eye_h * 0.42, self.eye_h * 0.42), np.array([15, 12, 12.0]))
            fill(oval(ex + 0.012, ey - 0.015, 0.009, 0.009), np.array([250, 250, 250.0]))
            line(oval(ex, ey, self.eye_w, self.eye_h, 180, 360), self.skin * 0.28, 0.022)
            line(oval(ex, ey, self.eye_w, self.eye_h, 10, 170), dark, 0.010)
            line(oval(ex, ey - 0.015, self.eye_w * 1.15, self.eye_h * 1.7, 200, 340), dark, 0.010)
            line(oval(ex, ey + 0.01, self.eye_w * 1.2, self.eye_h * 2.2, 30, 150), self.skin * 0.85, 0.010)
            along = np.linspace(0, 1, 12)
            heights = [self.brow_y + 0.02 - self.brow_arch * float(np.sin(np.pi * q * 0.8)) for q in along]
            brow = [(m * (0.13 + (0.50 - 0.13) * q), height) for q, height in zip(along, heights, strict=True)]
            line(brow, self.hair * 0.7 + self.skin * 0.1, self.brow_thick)
            for q in skin_rng.uniform(0, 1, 14):  # single hairs, for texture
                bx, by = brow[int(q * 11)]
                hair_line = [(bx, by + 0.022), (bx + m * 0.03, by - 0.022)]
                line(hair_line, self.hair * float(skin_rng.uniform(0.3, 1.1)), 0.008)
            bridge = [(m * 0.05, -0.16), (m * 0.055, 0.05), (m * self.nose_w * 0.8, self.nose_y - 0.05)]
            line(bridge, self.skin * 0.86, 0.014)
            wing = oval(m * self.nose_w * 0.75, self.nose_y, 0.045, 0.045, -90 if m > 0 else 90, 90 if m > 0 else 270)
            line(wing, dark, 0.014)
            fill(oval(m * self.nose_w * 0.42, self.nose_y + 0.03, 0.028, 0.014), self.skin * 0.4)
            above, below = (m * (self.nose_w + 0.02), self.nose_y), (m * (self.mouth_w + 0.05), self.mouth_y)
            fold = [above, (m * 0.24, 0.34), below]
            line(fold, self.skin * 0.84, 0.014)
        line([(-0.03, -0.26), (-0.025, -0.18)], self.skin * 0.85, 0.010)
        line([(0.03, -0.26), (0.025, -0.18)], self.skin * 0.85, 0.010)

        w, y, up, low = self.mouth_w, self.mouth_y, 0.055 * self.lips, 0.075 * self.lips
        upper = [(-w, y), (-w * 0.5, y - up * 0.8), (-w * 0.15, y - up), (0, y - up * 0.75), (w * 0.15, y - up)]
        fill([*upper, (w * 0.5, y - up * 0.8), (w, y), (0, y + 0.01)], self.lip * 0.92)
        lower = [(-w, y), (0, y + 0.005), (w, y), (w * 0.5, y + low * 0.85), (0, y + low), (-w * 0.5, y + low * 0.85)]
        fill(lower, self.lip)
        seam = [(-w * 1.03, y - 0.005), (-w * 0.4, y + 0.005), (0, y), (w * 0.4, y + 0.005), (w * 1.03, y - 0.005)]
        line(seam, self.lip * 0.42, 0.014)
        line(oval(0, y + 0.10, 0.14, 0.035, 20, 160), self.skin * 0.80, 0.014)
        line(oval(0, 0.74, 0.10, 0.06, 200, 340), self.skin * 0.88, 0.012)
        freckles = skin_rng.normal(0, 0.35, self.freckles), skin_rng.normal(0.15, 0.18, self.freckles)
        for fx, fy in zip(*freckles, strict=True):
            fill(oval(float(fx), float(fy), 0.009, 0.009), self.skin * 0.72)

        # Skin: three octaves of texture for the flow to follow; stubble for a beard.
        fine = skin_rng.standard_normal((side, side), np.float32)
        texture = 1.6 * cv2.GaussianBlur(fine, (0, 0), 0.9)
        for cells, weight in ((90, 0.8), (36, 0.9)):
            grid = skin_rng.standard_normal((cells, cells), np.float32)
            texture += weight * cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
        canvas *= 1 + (np.float32(self.texture) * texture * (0.35 + 0.65 * face_mask))[..., None]
        yy, xx = np.mgrid[0:side, 0:side].astype(np.float32)
        nx, ny = (xx - cx) / half, (yy - cy) / half
        if self.beard:
            grown = np.clip((ny - 0.30) * 4, 0, 1) * face_mask * self.beard
            strands = np.clip(0.6 + 0.35 * cv2.GaussianBlur(fine[::-1], (0, 0), 0.8) * 2.0, 0, 1.2)
            canvas += (grown * strands)[..., None] * (self.hair * 0.8 - canvas) * 0.8

        # Light: a gradient across the picture, and the roundness of the head.
        angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.28)
        light = 1 + depth * (np.cos(angle) * nx + np.sin(angle) * ny)
        light *= 1 - 0.16 * face_mask * (nx / self.width) ** 2
        canvas *= (rng.uniform(0.8, 1.1) * light)[..., None]
        return np.asarray(cv2.GaussianBlur(np.clip(canvas, 0, 255), (0, 0), rng.uniform(0.6, 0.95)), np.float32)
