//! Weights in and out: safetensors files with PyTorch's tensor names and layouts.
//!
//! Format: <https://github.com/huggingface/safetensors>. Reading never trusts the file: the crate checks that
//! the header's offsets tile the data exactly, and `WeightSource::take` checks every name, type and shape.

use burn::tensor::Tensor;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};

use crate::layers::host_values;
use crate::{Error, Result};

/// A tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// As in a PyTorch `state_dict`.
    pub name: String,
    /// PyTorch's layout: convolutions `[O, I, K, K]`, dense layers `[F_out, F_in]`.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

impl NamedTensor {
    /// The values of a tensor whose layout is PyTorch's already.
    pub(crate) fn of<const D: usize>(name: &str, tensor: Tensor<D>) -> Self {
        NamedTensor { name: name.into(), shape: tensor.dims().to_vec(), values: host_values(tensor) }
    }
}

/// The bytes of a safetensors file. The same tensors and metadata always give the same bytes.
///
/// # Panics
/// If a tensor's values do not fill its shape, or two have the same name.
pub fn to_safetensors(tensors: &[NamedTensor], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|t| t.values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).expect("values fill the shape");
        (tensor.name.as_str(), view)
    });
    let file = safetensors::serialize(views, None).expect("names differ and shapes fit");
    insert_metadata(&file, metadata)
}

/// Adds `__metadata__` to a safetensors file without it. The crate takes it as a `HashMap` and writes that in an order that
/// changes from run to run; model files must not.
///
/// # Panics
/// If it is no such file.
pub fn insert_metadata(file: &[u8], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let (length, rest) = file.split_first_chunk::<8>().expect("a file starts with its header's length");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let entries = std::str::from_utf8(header)
        .expect("a header is JSON")
        .trim_end()
        .strip_prefix('{')
        .expect("an object");
    let metadata = serde_json::to_string(metadata).expect("strings are JSON");
    let separator = if entries == "}" { "" } else { "," };
    let mut header = format!("{{\"__metadata__\":{metadata}{separator}{entries}").into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), data].concat()
}

/// The reverse of [`insert_metadata`]: the file without `__metadata__`, and what stood there.
///
/// # Errors
/// [`Error::NotSafetensors`] for a cut, broken or foreign file.
pub fn take_metadata(file: &[u8]) -> Result<(Vec<u8>, BTreeMap<String, String>)> {
    const KEY: &str = "__metadata__";
    let broken = |error: String| Error::NotSafetensors(error);
    let (length, _) = SafeTensors::read_metadata(file).map_err(|error| broken(error.to_string()))?;
    let (header, data) = file[8..].split_at(length);
    let mut entries: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(|error| broken(error.to_string()))?;
    let metadata = entries.remove(KEY).map(serde_json::from_value).transpose();
    let metadata = metadata.map_err(|error| broken(error.to_string()))?.unwrap_or_default();
    let mut header = serde_json::to_vec(&entries).expect("a header is JSON");
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(([&(header.len() as u64).to_le_bytes(), header.as_slice(), data].concat(), metadata))
}

/// The tensors, by name, and the metadata of a safetensors file.
///
/// # Errors
/// [`Error::NotSafetensors`] for a cut, broken or foreign file, [`Error::Mismatch`] for types other than f32.
pub fn from_safetensors(bytes: &[u8]) -> Result<(Vec<NamedTensor>, HashMap<String, String>)> {
    let broken = |error: safetensors::SafeTensorError| Error::NotSafetensors(error.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let mut tensors: Vec<NamedTensor> = file
        .iter()
        .map(|(name, view)| match view.dtype() {
            Dtype::F32 => Ok(NamedTensor {
                name: name.to_string(),
                shape: view.shape().to_vec(),
                values: view.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            }),
            other => Err(Error::Mismatch(format!("tensor `{name}` is of type {other:?}, not F32"))),
        })
        .collect::<Result<_>>()?;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((tensors, metadata))
}

/// Tensors by name, from which a network takes its own.
pub struct WeightSource {
    tensors: BTreeMap<String, NamedTensor>,
    prefix: String,
}

impl WeightSource {
    pub(crate) fn new(tensors: Vec<NamedTensor>) -> Self {
        let tensors = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        WeightSource { tensors, prefix: String::new() }
    }

    /// Lets `take` take tensors of the layer of this name, or of the part of this name of the current layer.
    pub(crate) fn within<R>(&mut self, name: &str, take: impl FnOnce(&mut Self) -> R) -> R {
        let outside = self.prefix.len();
        self.prefix.push_str(name);
        self.prefix.push('.');
        let result = take(self);
        self.prefix.truncate(outside);
        result
    }

    /// The values of one tensor of the current layer.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let name = format!("{}{name}", self.prefix);
        let tensor = self
            .tensors
            .remove(&name)
            .ok_or_else(|| Error::Mismatch(format!("tensor `{name}` is missing")))?;
        if tensor.shape != shape {
            let found = tensor.shape;
            return Err(Error::Mismatch(format!(
                "tensor `{name}` has shape {found:?}, but the model needs {shape:?}"
            )));
        }
        if let Some(position) = tensor.values.iter().position(|value| !value.is_finite()) {
            let value = tensor.values[position];
            return Err(Error::Mismatch(format!("tensor `{name}` holds {value} at position {position}")));
        }
        Ok(tensor.values)
    }

    /// Refuses tensors that nobody took.
    pub(crate) fn finish(self) -> Result<()> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::Mismatch(format!("the model has no tensor `{name}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<NamedTensor> {
        vec![
            NamedTensor { name: "a.weight".into(), shape: vec![2, 1], values: vec![1.5, -2.25] },
            NamedTensor { name: "b.bias".into(), shape: vec![1], values: vec![f32::MIN_POSITIVE] },
        ]
    }

    #[test]
    fn what_is_written_is_read_and_the_same_input_gives_the_same_bytes() {
        let metadata: BTreeMap<_, _> =
            (0..20).map(|i| (format!("key{i}"), format!("\"value\" {i}\n{{}}"))).collect();
        let bytes = to_safetensors(&sample(), &metadata);
        assert_eq!(bytes, to_safetensors(&sample(), &metadata));
        let (tensors, read) = from_safetensors(&bytes).unwrap();
        assert_eq!(tensors, sample());
        assert_eq!(read.into_iter().collect::<BTreeMap<_, _>>(), metadata);
    }

    #[test]
    fn metadata_is_replaced_and_tensors_stay() {
        let metadata = BTreeMap::from([("k".to_string(), "v".to_string())]);
        let bytes = to_safetensors(&sample(), &metadata);
        let (bare, taken) = take_metadata(&bytes).unwrap();
        assert_eq!(taken, metadata);
        let more =
            BTreeMap::from([("k".to_string(), "w \"\n".to_string()), ("l".to_string(), String::new())]);
        let (tensors, read) = from_safetensors(&insert_metadata(&bare, &more)).unwrap();
        assert_eq!((tensors, read.into_iter().collect::<BTreeMap<_, _>>()), (sample(), more));
        assert!(take_metadata(&bare).unwrap().1.is_empty());
        for length in 0..bytes.len() {
            let _ = take_metadata(&bytes[..length]);
        }
        assert!(take_metadata(&bytes[..40]).is_err() && take_metadata(&[255; 32]).is_err());
    }

    #[test]
    fn every_cut_of_a_file_is_refused() {
        let bytes = to_safetensors(&sample(), &BTreeMap::from([("k".into(), "v".into())]));
        for length in 0..bytes.len() {
            assert!(from_safetensors(&bytes[..length]).is_err(), "cut to {length} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn a_header_that_claims_more_than_the_file_holds_is_refused_without_allocating_it() {
        let header =
            br#"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,18446744073709551615]}}"#;
        let file = [&(header.len() as u64).to_le_bytes(), header.as_slice()].concat();
        assert!(matches!(from_safetensors(&file), Err(Error::NotSafetensors(_))));
        assert!(from_safetensors(&u64::MAX.to_le_bytes()).is_err());
    }

    #[test]
    fn missing_misshapen_extra_and_non_finite_tensors_are_named() {
        let mut source = WeightSource::new(sample());
        source.within("a", |a| {
            assert!(a.take("bias", &[1]).unwrap_err().to_string().contains("`a.bias` is missing"));
            assert!(a.take("weight", &[1, 2]).unwrap_err().to_string().contains("[2, 1]"));
        });

        let mut source = WeightSource::new(sample());
        source.within("a", |a| a.take("weight", &[2, 1])).unwrap();
        assert!(source.finish().unwrap_err().to_string().contains("no tensor `b.bias`"));

        let nan = NamedTensor { name: "a.weight".into(), shape: vec![1], values: vec![f32::NAN] };
        let mut source = WeightSource::new(vec![nan]);
        assert!(source.within("a", |a| a.take("weight", &[1])).unwrap_err().to_string().contains("NaN"));
    }
}
