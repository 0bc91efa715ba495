"""Frozen values: what ``attrs.frozen`` makes, without what making it costs.

attrs writes and compiles the methods of each class anew in every process: half of all that a call
took was attrs and the building of some forty classes (``docs/decisions/values.md``).  These classes
are read by a type checker as attrs', behave alike in all that Multus uses of them, and are built
without compiling anything.  What is not used is not here: a wrong argument of ``field`` is an
error when the class is made.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers read it; importing typing costs 3 ms
if TYPE_CHECKING:
    from attrs import evolve, field, frozen
else:

    class _Field:
        __slots__ = ("default", "eq", "factory", "init", "name", "repr")

        def __init__(self, default, factory, init, repr, eq):
            self.name = ""
            self.default = default
            self.factory = factory
            self.init = init
            self.repr = repr
            self.eq = eq

        def missing(self, owner):
            """The value of a field that was not given."""
            if self.factory is not None:
                return self.factory()
            if self.default is _NOTHING:
                raise TypeError(f"{owner.__name__}: missing argument: {self.name!r}")
            return self.default

    _NOTHING = object()

    class FrozenInstanceError(AttributeError):
        """Somebody wanted to change a value."""

    def field(*, default=_NOTHING, factory=None, init=True, repr=True, eq=True):
        """A field that is more than an annotation and a default."""
        return _Field(default, factory, init, repr, eq)

    def frozen(cls=None, *, order=False):
        """Make *cls* a value of its annotated fields: compared, hashed and shown by them.

        With *order*, values of one class are also sorted by them.
        """
        if cls is None:
            return lambda each: frozen(each, order=order)
        fields = {}
        for base in reversed(cls.__mro__):
            fields.update({each.name: each for each in base.__dict__.get("__values__", ())})
        # Not inspect.get_annotations, whose module costs 8 ms.
        annotations = vars(cls).get("__annotations__", {})
        for name, annotation in annotations.items():
            if str(annotation).startswith(("ClassVar", "typing.ClassVar")):
                continue
            given = cls.__dict__.get(name, _NOTHING)
            made = given if isinstance(given, _Field) else _Field(given, None, True, True, True)
            if given is not _NOTHING:
                delattr(cls, name)
            made.name = name
            fields[name] = made
        cls.__values__ = tuple(fields.values())
        _require_defaults_last(cls)
        cls.__setattr__ = cls.__delattr__ = _refuse
        for method in (__init__, __eq__, __hash__, __repr__, *(_ORDER if order else ())):
            if method.__name__ not in cls.__dict__:
                setattr(cls, method.__name__, method)
        return cls

    def evolve(value, /, **changes):
        """A copy of *value* with *changes*."""
        for each in value.__values__:
            if each.init and each.name not in changes:
                changes[each.name] = value.__dict__[each.name]
        return type(value)(**changes)

    def _require_defaults_last(cls):
        optional = False
        for each in cls.__values__:
            if not each.init:
                continue
            given = each.default is not _NOTHING or each.factory is not None
            if optional and not given:
                raise ValueError(f"{cls.__name__}.{each.name} follows a field with a default")
            optional = given

    def __init__(self, *args, **kwargs):
        values = self.__dict__
        position = 0
        for each in self.__values__:
            if not each.init:
                continue
            if position < len(args):
                values[each.name] = args[position]
                position += 1
            elif each.name in kwargs:
                values[each.name] = kwargs.pop(each.name)
            else:
                values[each.name] = each.missing(type(self))
        if kwargs or position < len(args):
            wrong = next(iter(kwargs), f"{len(args)} of them")
            raise TypeError(f"{type(self).__name__}: unexpected argument: {wrong}")
        finish = getattr(self, "__attrs_post_init__", None)
        if finish is not None:
            finish()

    def __eq__(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        return _compared(self) == _compared(other)

    def __lt__(self, other):
        return _ordered(self, other, lambda one, two: one < two)

    def __le__(self, other):
        return _ordered(self, other, lambda one, two: one <= two)

    def __gt__(self, other):
        return _ordered(self, other, lambda one, two: one > two)

    def __ge__(self, other):
        return _ordered(self, other, lambda one, two: one >= two)

    _ORDER = (__lt__, __le__, __gt__, __ge__)

    def _ordered(one, two, compare):
        if one.__class__ is not two.__class__:
            return NotImplemented
        return compare(_compared(one), _compared(two))

    def __hash__(self):
        return hash((self.__class__, _compared(self)))

    def __repr__(self):
        shown = (f"{f.name}={self.__dict__.get(f.name)!r}" for f in self.__values__ if f.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def _compared(value):
        return tuple([value.__dict__.get(each.name) for each in value.__values__ if each.eq])

    def _refuse(self, name, value=None):
        raise FrozenInstanceError(f"{type(self).__name__} is a value: its {name!r} cannot be set")


__all__ = ["evolve", "field", "frozen"]
