"""Vertex lists of the 478-point face mesh that the renderer needs. Left and right are the picture's sides."""

from __future__ import annotations

FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)

JAW = FACE_OVAL[8:29]  # ear to ear through the chin
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)

# Lip rings from the left to the right corner; corners themselves in CORNERS.
UPPER_OUTER = (185, 40, 39, 37, 0, 267, 269, 270, 409)
UPPER_MIDDLE = (184, 74, 73, 72, 11, 302, 303, 304, 408)
UPPER_INNER = (191, 80, 81, 82, 13, 312, 311, 310, 415)
LOWER_OUTER = (146, 91, 181, 84, 17, 314, 405, 321, 375)
LOWER_MIDDLE = (77, 90, 180, 85, 16, 315, 404, 320, 307)
LOWER_INNER = (95, 88, 178, 87, 14, 317, 402, 318, 324)
OUTER_CORNERS = (61, 291)
INNER_CORNERS = (78, 308)
OUTER_LIPS = OUTER_CORNERS + UPPER_OUTER + LOWER_OUTER
ALL_LIPS = OUTER_LIPS + INNER_CORNERS + UPPER_MIDDLE + LOWER_MIDDLE + UPPER_INNER + LOWER_INNER

# Skin around the mouth, spread evenly (farthest-point sampling); part of both lip layers.
MOUTH_SURROUND = (
    *(1, 36, 49, 98, 100, 136, 148, 149, 152, 165, 172, 192, 194, 195, 198, 200, 205, 206, 207, 208, 210, 211),
    *(212, 216, 266, 279, 327, 329, 365, 377, 378, 391, 397, 416, 418, 420, 425, 426, 427, 428, 430, 431, 432, 436),
)
UPPER_LAYER = MOUTH_SURROUND + OUTER_CORNERS + INNER_CORNERS + UPPER_OUTER + UPPER_MIDDLE + UPPER_INNER
LOWER_LAYER = MOUTH_SURROUND + OUTER_CORNERS + INNER_CORNERS + LOWER_OUTER + LOWER_MIDDLE + LOWER_INNER

# Face without lips and lids, spread evenly (farthest-point sampling).
FACE_SPREAD = (
    *(2, 4, 9, 32, 35, 36, 50, 53, 55, 66, 69, 70, 100, 105, 108, 117, 119, 124, 131, 151, 168, 187, 188, 197, 199),
    *(201, 204, 205, 206, 207, 210, 214, 216, 217, 223, 240, 262, 265, 266, 280, 283, 285, 296, 299, 329, 334, 337),
    *(346, 348, 353, 360, 411, 412, 421, 424, 425, 426, 427, 430, 434, 436, 437, 443, 460),
)

# Lid rings from the left to the right eye corner, and the crease above the upper lid.
LEFT_EYE_UPPER = (33, 246, 161, 160, 159, 158, 157, 173, 133)
LEFT_EYE_LOWER = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_EYE_CREASE = (130, 247, 30, 29, 27, 28, 56, 190, 243)
RIGHT_EYE_UPPER = (362, 398, 384, 385, 386, 387, 388, 466, 263)
RIGHT_EYE_LOWER = (362, 382, 381, 380, 374, 373, 390, 249, 263)
RIGHT_EYE_CREASE = (463, 414, 286, 258, 257, 259, 260, 467, 359)

UPPER_LIDS = (160, 159, 158, 385, 386, 387)
EYE_CORNERS_AND_LOWER_LIDS = (33, 133, 263, 362, 163, 145, 153, 380, 374, 390)
# Control points of the whole-face warp; those of UPPER_LIDS follow the head only (lids are painted).
FACE_CONTROL = FACE_OVAL + FACE_SPREAD + OUTER_LIPS + EYE_CORNERS_AND_LOWER_LIDS + UPPER_LIDS

UPPER_HALF_OVAL = (234, 127, 162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389, 356, 454)
CHIN = 152
EYE_OUTER = (33, 263)
SKIN_SAMPLES = (50, 280, 205, 425, 207, 427, 199)
