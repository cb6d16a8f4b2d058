//! In a recipe, `"max-pool"` stands for `{ type = "max-pool" }`.

use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Reads one internally tagged enum from a table or from its type alone.
pub fn one<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    Shorthand::deserialize(deserializer).map(|Shorthand(value)| value)
}

/// Reads a list of them.
pub fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let values = Vec::<Shorthand<T>>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|Shorthand(value)| value).collect())
}

struct Shorthand<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Shorthand<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TypeOrTable<T>(PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for TypeOrTable<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a type, such as \"adam\", or a table with a type, such as { type = \"adam\" }")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
                T::deserialize(MapDeserializer::new([("type", name)].into_iter()))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(table))
            }
        }
        deserializer.deserialize_any(TypeOrTable(PhantomData)).map(Shorthand)
    }
}
