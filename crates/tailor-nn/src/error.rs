//! What can go wrong when a network is built or its weights are read.

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What was wrong, where, and what to do about it, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A layer of the recipe cannot be built.
    #[error("{key} ({layer}): {reason}")]
    Architecture {
        /// Its key in the recipe.
        key: String,
        /// The layer in words.
        layer: String,
        /// Why, and what would help.
        reason: String,
    },
    /// The program was built without this device.
    #[error("this program was built without {0}; build it with `cargo build --release --features {0}`")]
    DeviceNotBuilt(&'static str),
    /// A classifier needs something to choose between.
    #[error("a classifier needs at least two classes, but the data has {0}")]
    Classes(usize),
    /// The file is no safetensors file, or a broken one.
    #[error("this is not a complete safetensors file ({0}); copy it again, or name another file")]
    NotSafetensors(String),
    /// The file holds no tensors that can be read.
    #[error("these are no weights that can be read: {0}")]
    StateDict(String),
    /// The file holds weights of another network.
    #[error("the weights do not fit the model: {0}")]
    Mismatch(String),
}
