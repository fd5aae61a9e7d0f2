"""dlib's serialisation, value by value: a reader and a writer with the same methods.

The reader takes values from a file; the writer makes a file of them. Whole numbers are a byte with
sign and length, then little-endian bytes; floating point is a mantissa and an exponent
(``dlib/serialize.h``, ``dlib/float_details.h``); weights are float32 as they are.
"""

from __future__ import annotations

import math

import numpy as np

from siamese.errors import WeightsError

_SPECIAL = {32000: math.inf, 32001: -math.inf, 32002: math.nan}


class Reader:
    """Takes values from the front of a file.

    Its arguments are what a writer would write; it ignores them.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self.content, self.name, self.place = memoryview(content), name, 0

    def wrong(self, what: str) -> WeightsError:
        return WeightsError(
            f"{self.name}: not dlib's face recognition network ({what}, at byte {self.place:,} of "
            f"{len(self.content):,}); give dlib_face_recognition_resnet_model_v1.dat or a file "
            f"written by DlibResNet.save_dlib"
        )

    def take(self, count: int) -> memoryview:
        if self.place + count > len(self.content):
            raise WeightsError(
                f"{self.name}: truncated, or not dlib's face recognition network (it ends at byte "
                f"{len(self.content):,}, where {self.place + count:,} are needed at least); copy "
                f"it again"
            )
        self.place += count
        return self.content[self.place - count : self.place]

    def integer(self, _: int | None = None) -> int:
        control = self.take(1)[0]
        count = control & 0x0F
        if control & 0x70 or not 1 <= count <= 8:
            raise self.wrong("no whole number where one is expected")
        value = int.from_bytes(self.take(count), "little")
        return -value if control & 0x80 else value

    def real(self, _: float, digits: int) -> float:
        mantissa, exponent = self.integer(), self.integer()
        if exponent in _SPECIAL:
            return _SPECIAL[exponent]
        # Beyond any number that dlib can write.
        if abs(exponent) > 1200 or abs(mantissa) >= 1 << 53:
            raise self.wrong("no floating-point number where one is expected")
        return math.ldexp(mantissa, exponent)

    def flag(self, _: bool) -> bool:
        byte = bytes(self.take(1))
        if byte not in (b"0", b"1"):
            raise self.wrong("no flag where one is expected")
        return byte == b"1"

    def text(self, _: str) -> str:
        length = self.integer()
        if not 0 < length < 100:
            raise self.wrong("no name where one is expected")
        return bytes(self.take(length)).decode("latin-1")

    def exactly(self, value: int | str, what: str) -> None:
        found = self.integer() if isinstance(value, int) else self.text(value)
        if found != value:
            raise self.wrong(f"{what} is {found!r}, not {value!r}")

    def reshape(self, _: np.ndarray | None, shape: tuple[int, ...], what: str) -> np.ndarray:
        return np.empty(0, np.float32)

    def tensor(self, _: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        self.exactly(2, "version of a tensor")
        if (found := tuple(self.integer() for _ in range(4))) != shape:
            raise self.wrong(f"a tensor of shape {found}, not {shape}")
        values = np.frombuffer(self.take(4 * math.prod(shape)), "<f4").astype(np.float32)
        if not np.isfinite(values).all():
            raise self.wrong("weights that are not finite")
        return values

    def skipped_tensor(self) -> None:
        self.exactly(2, "version of a tensor")
        shape = [self.integer() for _ in range(4)]
        if min(shape) < 0:
            raise self.wrong(f"a tensor of shape {tuple(shape)}")
        self.take(4 * math.prod(shape))

    def alias(self, shape: tuple[int, ...]) -> None:
        self.exactly(1, "version of a tensor's alias")
        for value in shape:
            self.exactly(value, f"a number of an alias of shape {shape}")

    def finish(self) -> None:
        if self.place != len(self.content):
            raise WeightsError(
                f"{self.name}: {len(self.content) - self.place:,} bytes are left over after "
                f"dlib's face recognition network; copy the file again"
            )


class Writer:
    """Collects the bytes of the values that it is given."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def wrong(self, what: str) -> WeightsError:
        return WeightsError(
            f"cannot be written as dlib's face recognition network: {what}; keep what "
            f"DlibFile.read gave"
        )

    def integer(self, value: int) -> int:
        size = max(1, (abs(value).bit_length() + 7) // 8)
        self.parts.append(
            bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")
        )
        return value

    def real(self, value: float, digits: int) -> float:
        if not math.isfinite(value):
            self.integer(0)
            self.integer(32002 if math.isnan(value) else 32000 if value > 0 else 32001)
            return value
        fraction, exponent = math.frexp(np.float32(value) if digits == 24 else value)
        mantissa, exponent = int(fraction * (1 << digits)), exponent - digits
        for _ in range(8):
            if mantissa & 0xFF:
                break
            mantissa, exponent = mantissa >> 8, exponent + 8
        self.integer(mantissa)
        self.integer(exponent)
        return value

    def flag(self, value: bool) -> bool:
        self.parts.append(b"1" if value else b"0")
        return value

    def text(self, value: str) -> str:
        self.integer(len(value))
        self.parts.append(value.encode("latin-1"))
        return value

    def exactly(self, value: int | str, what: str) -> None:
        if isinstance(value, int):
            self.integer(value)
        else:
            self.text(value)

    def reshape(self, values: np.ndarray | None, shape: tuple[int, ...], what: str) -> np.ndarray:
        # For example torch's own layout: as many numbers, in another order.
        if values is None or values.shape != shape:
            raise self.wrong(
                f"{what} of shape {None if values is None else values.shape}, not {shape}"
            )
        if not np.isfinite(values).all():
            raise self.wrong(f"{what} that are not finite")
        return np.ascontiguousarray(values, dtype="<f4").reshape(-1)

    def tensor(self, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        self.integer(2)
        for value in shape:
            self.integer(value)
        self.parts.append(values.tobytes())
        return values

    def skipped_tensor(self) -> None:
        for value in (2, 0, 0, 0, 0):
            self.integer(value)

    def alias(self, shape: tuple[int, ...]) -> None:
        for value in (1, *shape):
            self.integer(value)
