//! What a fitted classifier consists of, as named tensors of a safetensors file.
//!
//! Format: <https://github.com/huggingface/safetensors>. Reading never trusts the file: the crate checks that the
//! header's offsets tile the data exactly, and [`TensorSource`] checks every name, type and shape.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::{Error, Result};

/// A named tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    name: String,
    shape: Vec<usize>,
    values: Values,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    F32(Vec<f32>),
    U8(Vec<u8>),
}

impl Tensor {
    pub(crate) fn f32(name: &str, shape: Vec<usize>, values: Vec<f32>) -> Self {
        Tensor { name: name.into(), shape, values: Values::F32(values) }
    }

    /// Number of values.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        match &self.values {
            Values::F32(values) => values.len(),
            Values::U8(values) => values.len(),
        }
    }

    pub(crate) fn u8(name: &str, shape: Vec<usize>, values: Vec<u8>) -> Self {
        Tensor { name: name.into(), shape, values: Values::U8(values) }
    }
}

/// The bytes of a safetensors file without metadata. The same tensors always give the same bytes.
///
/// # Panics
/// If a tensor's values do not fill its shape, or two have the same name.
pub fn to_safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let bytes: Vec<(Dtype, Vec<u8>)> = tensors
        .iter()
        .map(|tensor| match &tensor.values {
            Values::F32(values) => {
                (Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Values::U8(values) => (Dtype::U8, values.clone()),
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|(tensor, (dtype, bytes))| {
        let view = TensorView::new(*dtype, tensor.shape.clone(), bytes).expect("values fill the shape");
        (tensor.name.as_str(), view)
    });
    safetensors::serialize(views, None).expect("names differ and shapes fit")
}

/// Tensors by name, from which a classifier takes its own.
#[derive(Debug)]
pub struct TensorSource(BTreeMap<String, Tensor>);

impl TensorSource {
    /// The tensors of a safetensors file.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a cut, broken or foreign file, and for other types than `f32` and `u8`.
    pub fn read(file: &[u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(file).map_err(|error| Error::Mismatch(error.to_string()))?;
        let tensor = |(name, view): (&str, TensorView)| {
            let values = match view.dtype() {
                Dtype::F32 => Values::F32(
                    view.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
                ),
                Dtype::U8 => Values::U8(view.data().to_vec()),
                other => return Err(Error::Mismatch(format!("tensor `{name}` is of type {other:?}"))),
            };
            Ok((name.to_string(), Tensor { name: name.into(), shape: view.shape().to_vec(), values }))
        };
        Ok(TensorSource(file.iter().map(tensor).collect::<Result<_>>()?))
    }

    /// The tensors themselves, as they would be read.
    pub fn of(tensors: Vec<Tensor>) -> Self {
        TensorSource(tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect())
    }

    /// The length of a tensor's first dimension, where it is not known otherwise.
    pub(crate) fn rows(&self, name: &str) -> Result<usize> {
        let tensor =
            self.0.get(name).ok_or_else(|| Error::Mismatch(format!("tensor `{name}` is missing")))?;
        tensor
            .shape
            .first()
            .copied()
            .ok_or_else(|| Error::Mismatch(format!("tensor `{name}` has no dimension")))
    }

    pub(crate) fn take_f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        match self.take(name, shape)? {
            Values::F32(values) => match values.iter().find(|value| !value.is_finite()) {
                Some(value) => Err(Error::Mismatch(format!("tensor `{name}` holds {value}"))),
                None => Ok(values),
            },
            Values::U8(_) => Err(Error::Mismatch(format!("tensor `{name}` is of type U8, not F32"))),
        }
    }

    pub(crate) fn take_u8(&mut self, name: &str, shape: &[usize]) -> Result<Vec<u8>> {
        match self.take(name, shape)? {
            Values::U8(values) => Ok(values),
            Values::F32(_) => Err(Error::Mismatch(format!("tensor `{name}` is of type F32, not U8"))),
        }
    }

    /// Whole numbers below `bound`, written as `f32`, which holds them exactly up to 2²⁴.
    pub(crate) fn take_indices(&mut self, name: &str, shape: &[usize], bound: usize) -> Result<Vec<usize>> {
        let index = |value: f32| {
            let whole = value >= 0.0 && value.fract() == 0.0 && (value as usize) < bound;
            let wrong =
                || Error::Mismatch(format!("tensor `{name}` holds {value}, not a number below {bound}"));
            if whole { Ok(value as usize) } else { Err(wrong()) }
        };
        self.take_f32(name, shape)?.into_iter().map(index).collect()
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Values> {
        let missing = || Error::Mismatch(format!("tensor `{name}` is missing"));
        let tensor = self.0.remove(name).ok_or_else(missing)?;
        if tensor.shape != shape {
            let found = tensor.shape;
            return Err(Error::Mismatch(format!(
                "tensor `{name}` has shape {found:?}, but the classifier needs {shape:?}"
            )));
        }
        Ok(tensor.values)
    }

    /// # Errors
    /// [`Error::Mismatch`] if something was not taken.
    pub(crate) fn finish(self) -> Result<()> {
        match self.0.keys().next() {
            Some(name) => Err(Error::Mismatch(format!("the classifier has no tensor `{name}`"))),
            None => Ok(()),
        }
    }
}
