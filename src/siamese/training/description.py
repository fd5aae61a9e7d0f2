"""What a module is made of, in plain JSON values: a checkpoint alone can then be loaded."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from siamese.backbones.base import BACKBONES, own_network
from siamese.checkpoint_files import read_checkpoint
from siamese.distances.base import DISTANCES
from siamese.errors import ConfigError, SiameseError, first_line
from siamese.losses.base import LOSSES
from siamese.notices import warn_once
from siamese.registry import Registry, as_plain, is_plain
from siamese.training.schedules import WarmupCosine

KEY = "siamese"  # of a checkpoint
_REGISTRIES: dict[str, Registry[Any]] = {
    "backbone": BACKBONES,
    "loss": LOSSES,
    "distance": DISTANCES,
}
# Beside ours, only classes of torch are looked up.
_OURS = "warmup_cosine"


def describe_module(
    parts: Mapping[str, nn.Module], optimizer: Any, schedule: Any, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Names and settings, without weights.

    Args:
        parts: backbone, loss and distance.
        optimizer, schedule: as :class:`siamese.SiameseModule` takes them.
        settings: its other arguments, plain JSON values.

    Returns:
        a part that cannot be described is ``{"missing": reason}``.
    """
    described: dict[str, Any] = {}
    for name, part in parts.items():
        try:
            described[name] = _REGISTRIES[name].settings(own_network(part))
        except SiameseError as error:
            described[name] = {"missing": str(error)}
    described["optimizer"] = _describe_torch(optimizer, torch.optim)
    if isinstance(schedule, WarmupCosine):
        described["schedule"] = {
            "name": _OURS,
            "warmup": as_plain(schedule.warmup),
            "final": as_plain(schedule.final),
        }
    else:
        described["schedule"] = schedule and _describe_torch(schedule, torch.optim.lr_scheduler)
    return described | {"settings": {name: as_plain(v) for name, v in settings.items()}}


def build_parts(described: Any, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The constructor's arguments from a description; names are looked up, nothing is executed.

    Args:
        described: from :func:`describe_module`; None in checkpoints of earlier versions.
        given: arguments that are not to be built.
        where: the checkpoint, for messages.

    Raises:
        ConfigError: a part is not described, or cannot be built, and is not given.
    """
    described = described if isinstance(described, Mapping) else {}
    arguments = dict(described.get("settings", {})) | dict(given)
    for name, registry in _REGISTRIES.items():
        if name not in given:
            arguments[name] = _build(name, registry, described.get(name), where)
    for name, build in (("optimizer", _build_optimizer), ("schedule", _build_schedule)):
        if name not in given and name in described:
            try:
                arguments[name] = build(described[name])
            except LookupError:
                warn_once(
                    f"{where}: its {name} was a function of your own, so the default is taken; "
                    f"give {name}=... to train on with it",
                    stacklevel=2,
                )
    return arguments


def _build(name: str, registry: Registry[Any], settings: Any, where: str) -> Any:
    reason = "the checkpoint does not say what it was"
    if isinstance(settings, Mapping):
        reason = str(settings.get("missing", ""))
        if not reason:
            try:
                return registry.build(settings)
            except SiameseError as error:
                reason = str(error)
    elif name == "distance":
        return None
    raise ConfigError(
        f"{where}: its {name} cannot be built ({reason}); give it: load_from_checkpoint(path, "
        f"{name}=...)"
    )


def _describe_torch(made: Any, module: Any) -> dict[str, Any]:
    """A partial of one of torch's classes with plain arguments; otherwise what is missing."""
    call, arguments = made, {}
    if isinstance(made, functools.partial) and not made.args:
        call, arguments = made.func, as_plain(dict(made.keywords))
    name = getattr(call, "__name__", "")
    if not (inspect.isclass(call) and getattr(module, name, None) is call and is_plain(arguments)):
        return {"missing": "a function of your own"}
    # How Lightning steps a schedule, see SiameseModule.
    extra = {a: str(getattr(made, a)) for a in ("interval", "monitor") if hasattr(made, a)}
    return {"name": name, "arguments": arguments, "attributes": extra}


def _build_torch(settings: Any, module: Any, base: type) -> Any:
    """The reverse of :func:`_describe_torch`.

    Raises:
        LookupError: it could not be described, or is no class of torch.
    """
    if not isinstance(settings, Mapping) or "missing" in settings:
        raise LookupError
    cls = getattr(module, str(settings.get("name")), None)
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        raise LookupError
    made = functools.partial(cls, **dict(settings.get("arguments", {})))
    for attribute, value in dict(settings.get("attributes", {})).items():
        if attribute in ("interval", "monitor"):
            setattr(made, attribute, value)
    return made


def _build_optimizer(settings: Any) -> Any:
    return _build_torch(settings, torch.optim, torch.optim.Optimizer)


def _build_schedule(settings: Any) -> Any:
    if settings is None:  # a constant rate
        return None
    if isinstance(settings, Mapping) and settings.get("name") == _OURS:
        return WarmupCosine(**{k: v for k, v in settings.items() if k in ("warmup", "final")})
    scheduler = torch.optim.lr_scheduler
    return _build_torch(settings, scheduler, scheduler.LRScheduler)


def read_module_checkpoint(path: Any, map_location: Any = None) -> dict[str, Any]:
    """A checkpoint's content, as data: nothing in it is executed.

    Raises:
        ConfigError: no such file, or not a checkpoint of a module.
    """
    try:
        if isinstance(path, (str, Path)):
            content = read_checkpoint(path, map_location or "cpu")
        else:  # an open file
            content = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        if "state_dict" not in content:
            raise ValueError("no weights in it")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file; give a checkpoint, such as RUN/checkpoints/last.ckpt"
        ) from error
    except Exception as error:  # torch raises many kinds for a file that is no checkpoint
        raise ConfigError(
            f"{path}: not a checkpoint ({first_line(error):.80}); give one that Lightning wrote "
            f"(RUN/checkpoints/last.ckpt), or load a bundle with siamese.Verifier.load"
        ) from error
    assert isinstance(content, dict)
    return content
