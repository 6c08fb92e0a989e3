use serde::Serialize;
use serde::ser::{self, Serializer};
use std::fmt;

/// A serializer that writes nothing and fails at the first float that is not finite.
#[derive(Clone, Copy)]
pub(super) struct Finite;

/// A float that is not finite, or an error of the value itself.
#[derive(Debug)]
pub(super) struct NotFinite;

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number is not finite")
    }
}

impl std::error::Error for NotFinite {}

impl ser::Error for NotFinite {
    fn custom<T: fmt::Display>(_: T) -> Self {
        NotFinite
    }
}

type Walk = Result<(), NotFinite>;

macro_rules! nothing_to_check {
    ($($name:ident($ty:ty)),* $(,)?) => {
        $(fn $name(self, _: $ty) -> Walk { Ok(()) })*
    };
}

impl Serializer for Finite {
    type Ok = ();
    type Error = NotFinite;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    nothing_to_check!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str),
    );

    fn serialize_f32(self, x: f32) -> Walk {
        if x.is_finite() { Ok(()) } else { Err(NotFinite) }
    }

    fn serialize_f64(self, x: f64) -> Walk {
        if x.is_finite() { Ok(()) } else { Err(NotFinite) }
    }

    fn serialize_none(self) -> Walk {
        Ok(())
    }

    fn serialize_unit(self) -> Walk {
        Ok(())
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Walk {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Walk {
        Ok(())
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Walk {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Walk {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotFinite> {
        Ok(self)
    }
}

macro_rules! compound {
    ($($trait:ident::$method:ident($($key:ident)?)),* $(,)?) => {
        $(impl ser::$trait for Finite {
            type Ok = ();
            type Error = NotFinite;

            fn $method<T: ?Sized + Serialize>(&mut self, $($key: &'static str,)? value: &T) -> Walk {
                $(let _ = $key;)?
                value.serialize(*self)
            }

            fn end(self) -> Walk {
                Ok(())
            }
        })*
    };
}

compound!(
    SerializeSeq::serialize_element(),
    SerializeTuple::serialize_element(),
    SerializeTupleStruct::serialize_field(),
    SerializeTupleVariant::serialize_field(),
    SerializeStruct::serialize_field(key),
    SerializeStructVariant::serialize_field(key),
);

impl ser::SerializeMap for Finite {
    type Ok = ();
    type Error = NotFinite;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, _: &T) -> Walk {
        Ok(())
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Walk {
        value.serialize(*self)
    }

    fn end(self) -> Walk {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Serialize)]
    enum Kind {
        Unit,
        Newtype(f64),
        Tuple(u8, f32),
        Struct { x: Option<f64> },
    }

    #[derive(Serialize)]
    struct All {
        seq: Vec<Kind>,
        map: BTreeMap<u8, (f64, bool)>,
        none: Option<f32>,
    }

    fn all(bad: usize) -> All {
        let x = |i| if i == bad { f64::NAN } else { 0.5 };
        All {
            seq: vec![
                Kind::Unit,
                Kind::Newtype(x(0)),
                Kind::Tuple(1, x(1) as f32),
                Kind::Struct { x: Some(x(2)) },
            ],
            map: [(1, (x(3), true))].into(),
            none: None,
        }
    }

    #[test]
    fn a_number_that_is_not_finite_is_found_wherever_it_is() {
        for bad in 0..4 {
            assert!(all(bad).serialize(Finite).is_err(), "place {bad}");
        }
        assert!(all(usize::MAX).serialize(Finite).is_ok());
        assert!(f64::INFINITY.serialize(Finite).is_err());
        assert!((1u8, f32::NEG_INFINITY).serialize(Finite).is_err());
    }
}
