"""The rules of recycling once more, as simple as can be: a list of patients in memory."""

from dataclasses import dataclass, field

from isocenter.index.records import Quota, StoreResult

__all__ = ["Model", "ModelInstance"]


@dataclass(frozen=True, slots=True)
class ModelInstance:
    """An instance that is to be stored."""

    patient: str
    number: int
    size: int
    is_overwriting: bool


@dataclass
class Model:
    """What must be stored after some operations.

    Attributes
    ----------
    order
        The patients that may be recycled, the oldest first.
    protected
        Those that may not.
    sizes
        Of each patient the sizes of its instances by their numbers.
    """

    quota: Quota
    order: list[str] = field(default_factory=list)
    protected: set[str] = field(default_factory=set)
    sizes: dict[str, dict[int, int]] = field(default_factory=dict)

    def store(self, new: ModelInstance) -> StoreResult:
        """Store one instance and tell what becomes of it."""
        known = self.sizes.get(new.patient, {}).get(new.number)
        if known is not None and not new.is_overwriting:
            return StoreResult(is_stored=False)
        victims = self._choose_victims(new, new.size - (known or 0))
        if victims is None:
            return StoreResult(is_stored=False, is_full=True)
        for victim in victims:
            self.delete(victim)
        self.sizes.setdefault(new.patient, {})[new.number] = new.size
        if new.patient not in self.protected:
            self.order = [patient for patient in self.order if patient != new.patient]
            self.order.append(new.patient)
        return StoreResult(
            is_stored=True, has_replaced=known is not None, recycled_patients=len(victims)
        )

    def _choose_victims(self, new: ModelInstance, growth: int) -> list[str] | None:
        if self._has_room(new, growth, []):
            return []
        if not self.quota.is_recycling:
            return None
        victims: list[str] = []
        for patient in self.order:
            if patient != new.patient:
                victims.append(patient)
                if self._has_room(new, growth, victims):
                    return victims
        return None

    def _has_room(self, new: ModelInstance, growth: int, victims: list[str]) -> bool:
        left = {name: sizes for name, sizes in self.sizes.items() if name not in victims}
        is_new = new.patient not in self.sizes
        limit, most = self.quota.maximum_disk_size, self.quota.maximum_patients
        total = sum(sum(sizes.values()) for sizes in left.values())
        has_bytes = not limit or growth <= 0 or total + growth <= limit
        return has_bytes and (not most or not is_new or len(left) < most)

    def protect(self, patient: str, *, is_protected: bool) -> bool:
        """Protect a patient or give it free; tell whether there is one."""
        if patient not in self.sizes:
            return False
        if is_protected and patient not in self.protected:
            self.protected.add(patient)
            self.order.remove(patient)
        elif not is_protected and patient in self.protected:
            self.protected.remove(patient)
            self.order.append(patient)
        return True

    def delete(self, patient: str) -> None:
        """Delete a patient, if there is one."""
        self.sizes.pop(patient, None)
        self.protected.discard(patient)
        self.order = [name for name in self.order if name != patient]

    def describe(self) -> str:
        """Name the patients in the order of recycling, then the protected ones in brackets."""
        return "".join(self.order) + "".join(f"[{name}]" for name in sorted(self.protected))

    def list_instances(self) -> list[str]:
        """Name all instances."""
        return sorted(f"i{name}{number}" for name, sizes in self.sizes.items() for number in sizes)
