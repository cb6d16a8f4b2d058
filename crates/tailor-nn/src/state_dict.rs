//! Tensors by name out of the files in which others keep them: safetensors, PyTorch's `.pth`, or an archive with one of
//! these in it, such as a Python wheel.
//!
//! ```text
//! "PK…"  an archive:  with data.pkl and data/0, data/1, …  →  .pth of PyTorch 1.6 or newer
//!                     with one .safetensors, .pth or .pt   →  that file
//! 0x80   pickles, then the numbers                         →  .pth of before
//! else                                                     →  safetensors
//! ```

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder, ZipSliceArchive};
use safetensors::tensor::{Dtype, SafeTensors};

use crate::pickle::{Id, Pickle, Value};
use crate::weights::NamedTensor;
use crate::{Error, Result};

/// The f32 tensors of a file of any of these formats, by name. Tensors of integers, which count batches, are left out.
///
/// # Errors
/// [`Error::StateDict`] says what is cut, foreign, or more than tensors.
pub fn from_state_dict(file: &[u8]) -> Result<Vec<NamedTensor>> {
    let tensors = match file {
        [b'P', b'K', ..] => archive(file),
        [0x80, ..] => legacy(file),
        _ => safetensors(file),
    };
    let mut tensors = tensors.map_err(Error::StateDict)?;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

type Parsed<T> = std::result::Result<T, String>;

fn safetensors(file: &[u8]) -> Parsed<Vec<NamedTensor>> {
    let file = SafeTensors::deserialize(file)
        .map_err(|error| format!("it is no complete safetensors file ({error})"))?;
    let floats = file.iter().filter(|(_, view)| view.dtype() != Dtype::I64);
    floats
        .map(|(name, view)| match view.dtype() {
            Dtype::F32 => {
                let values = floats_of(view.data());
                Ok(NamedTensor { name: name.into(), shape: view.shape().to_vec(), values })
            }
            other => Err(format!("tensor `{name}` is of type {other:?}, not F32")),
        })
        .collect()
}

fn archive(file: &[u8]) -> Parsed<Vec<NamedTensor>> {
    let archive = Archive::open(file)?;
    if let Some(folder) = archive.pickled() {
        return zipped(&archive, folder);
    }
    let is_weights = |name: &&str| [".safetensors", ".pth", ".pt"].iter().any(|end| name.ends_with(end));
    let weights: Vec<&str> = archive.names().filter(is_weights).collect();
    let name = match weights[..] {
        [name] => name,
        [] => return Err("it is an archive without a .safetensors or .pth file in it".into()),
        _ => {
            return Err(format!(
                "it is an archive with {} files of weights; unpack it and name one",
                weights.len()
            ));
        }
    };
    let inner = archive.read(name)?;
    match inner.as_slice() {
        [b'P', b'K', ..] => {
            let inner = Archive::open(&inner)?;
            // Not an archive in an archive without end.
            let folder = inner.pickled().ok_or_else(|| format!("{name} in it holds no tensors"))?;
            zipped(&inner, folder)
        }
        [0x80, ..] => legacy(&inner),
        _ => safetensors(&inner),
    }
}

/// A ZIP archive in memory.
struct Archive<'a> {
    archive: ZipSliceArchive<&'a [u8]>,
    entries: BTreeMap<String, (ZipArchiveEntryWayfinder, CompressionMethod)>,
    /// Bytes that may still come out of it.
    budget: Cell<u64>,
}

/// Weights hardly shrink when they are packed; a bomb shrinks a thousandfold.
const LARGEST_EXPANSION: u64 = 50;

impl<'a> Archive<'a> {
    fn open(file: &'a [u8]) -> Parsed<Self> {
        let broken = |error: rawzip::Error| format!("it is no complete archive ({error})");
        let archive = ZipArchive::from_slice(file).map_err(broken)?;
        let mut entries = BTreeMap::new();
        let mut listed = archive.entries();
        while let Some(entry) = listed.next_entry().map_err(broken)? {
            let path = entry.file_path().try_normalize().map_err(broken)?;
            let path: &str = path.as_ref();
            entries.insert(path.to_string(), (entry.wayfinder(), entry.compression_method()));
        }
        let budget = Cell::new((file.len() as u64).saturating_mul(LARGEST_EXPANSION));
        Ok(Archive { archive, entries, budget })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The folder of a pickle of `torch.save`.
    fn pickled(&self) -> Option<&str> {
        self.names().find_map(|name| name.strip_suffix("/data.pkl"))
    }

    fn read(&self, name: &str) -> Parsed<Vec<u8>> {
        let (place, method) = *self.entries.get(name).ok_or_else(|| format!("{name} is missing in it"))?;
        let cannot = |error: &dyn std::fmt::Display| format!("{name} in it cannot be read ({error})");
        let entry = self.archive.get_entry(place).map_err(|error| cannot(&error))?;
        let inflated: Box<dyn Read> = match method {
            CompressionMethod::STORE => Box::new(entry.data()),
            CompressionMethod::DEFLATE => Box::new(DeflateDecoder::new(entry.data())),
            other => return Err(cannot(&format!("it is packed by {other:?}"))),
        };
        let mut bytes = Vec::new();
        let budget = self.budget.get();
        let mut checked = entry.verifying_reader(inflated).take(budget);
        checked.read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
        match budget - bytes.len() as u64 {
            0 => Err(cannot(&"it is packed too densely for weights")),
            left => {
                self.budget.set(left);
                Ok(bytes)
            }
        }
    }
}

/// `torch.save` since PyTorch 1.6: the pickle, and a file for each storage.
fn zipped(archive: &Archive, folder: &str) -> Parsed<Vec<NamedTensor>> {
    let order = format!("{folder}/byteorder");
    if archive.entries.contains_key(&order) && archive.read(&order)? != b"little" {
        return Err("its numbers are big-endian; save it again on another machine".into());
    }
    let pickle = Pickle::read(&archive.read(&format!("{folder}/data.pkl"))?)?;
    let mut storages: HashMap<String, Vec<f32>> = HashMap::new();
    let described = described(&pickle)?;
    for tensor in &described {
        if !storages.contains_key(tensor.storage) {
            let values = floats_of(&archive.read(&format!("{folder}/data/{}", tensor.storage))?);
            storages.insert(tensor.storage.to_string(), values);
        }
    }
    values(&described, &storages)
}

/// `torch.save` before: a magic number, a version, the machine, the tensors and the storages' names as pickles, then for each
/// storage the count and the numbers.
fn legacy(file: &[u8]) -> Parsed<Vec<NamedTensor>> {
    let mut rest = file;
    let mut next = || {
        let pickle = Pickle::read(rest)?;
        rest = &rest[pickle.length..];
        Ok::<Pickle, String>(pickle)
    };
    let [_magic, version, _machine] = [next()?, next()?, next()?];
    if version.count(version.root) != Some(1001) {
        return Err("it is a pickle, but none with tensors of PyTorch".into());
    }
    let (pickle, names) = (next()?, next()?);
    let described = described(&pickle)?;
    let mut storages = HashMap::new();
    for &name in names.parts(names.root).ok_or("it does not list its storages")? {
        let name = names.text(name).ok_or("one of its storages has no name")?;
        let (count, after) = rest.split_first_chunk::<8>().ok_or("it ends before its last storage")?;
        let bytes = if described.iter().any(|tensor| tensor.storage == name) { 4 } else { COUNTER_BYTES };
        let length =
            usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(bytes));
        let (numbers, after) = length
            .and_then(|length| after.split_at_checked(length))
            .ok_or("it ends before its last storage")?;
        storages.insert(name.to_string(), floats_of(numbers));
        rest = after;
    }
    values(&described, &storages)
}

/// The described tensors with their values out of the storages.
fn values(described: &[Described], storages: &HashMap<String, Vec<f32>>) -> Parsed<Vec<NamedTensor>> {
    let stored: usize = storages.values().map(Vec::len).sum();
    let mut left = stored;
    let read = |tensor: &Described| {
        let tensor = tensor.read(storages)?;
        left = left.checked_sub(tensor.values.len()).ok_or("its tensors share their values")?;
        Ok(tensor)
    };
    described.iter().map(read).collect()
}

/// Of an integer: what is no f32 storage counts batches.
const COUNTER_BYTES: usize = 8;

/// Where a tensor's values lie in its storage.
struct Described<'a> {
    name: &'a str,
    storage: &'a str,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// The f32 tensors of a pickled dictionary, also of one under the key `state_dict`.
fn described(pickle: &Pickle) -> Parsed<Vec<Described<'_>>> {
    let dict = |id: Id| match pickle.get(id) {
        Value::Dict(entries) => Some(entries),
        _ => None,
    };
    let top =
        dict(pickle.root).ok_or("it holds no dictionary of tensors; save the model's state_dict alone")?;
    let inner = top.iter().find(|(key, _)| pickle.text(*key) == Some("state_dict"));
    let entries = inner.and_then(|(_, value)| dict(*value)).unwrap_or(top);
    let mut tensors = Vec::new();
    for &(key, value) in entries {
        let (Some(name), Value::Tensor(arguments)) = (pickle.text(key), pickle.get(value)) else {
            return Err(
                "its dictionary holds something that is no tensor; save the model's state_dict alone".into(),
            );
        };
        tensors.extend(
            describe(pickle, name, arguments).ok_or_else(|| format!("tensor `{name}` makes no sense"))??,
        );
    }
    Ok(tensors)
}

/// A tensor by `_rebuild_tensor_v2`'s arguments: storage, offset, shape, strides. Nothing if it is of integers.
fn describe<'a>(
    pickle: &'a Pickle,
    name: &'a str,
    arguments: &[Id],
) -> Option<Parsed<Option<Described<'a>>>> {
    let &[storage, offset, shape, strides, ..] = arguments else { return None };
    let Value::Persistent(storage) = pickle.get(storage) else { return None };
    // ("storage", its class, its key, …)
    let &[_, class, key, ..] = pickle.parts(*storage)? else { return None };
    let Value::Global(class) = pickle.get(class) else { return None };
    match class.as_str() {
        "torch.FloatStorage" => {}
        "torch.LongStorage" => return Some(Ok(None)),
        other => return Some(Err(format!("tensor `{name}` is in a {other}; only f32 is read"))),
    }
    let (shape, strides) = (pickle.counts(shape)?, pickle.counts(strides)?);
    (shape.len() == strides.len()).then_some(())?;
    Some(Ok(Some(Described {
        name,
        storage: pickle.text(key)?,
        offset: pickle.count(offset)?,
        shape,
        strides,
    })))
}

impl Described<'_> {
    fn read(&self, storages: &HashMap<String, Vec<f32>>) -> Parsed<NamedTensor> {
        let name = self.name;
        let outside = || format!("tensor `{name}` reaches beyond its storage");
        let storage = storages.get(self.storage).ok_or_else(outside)?;
        let length = self.shape.iter().try_fold(1usize, |length, &extent| length.checked_mul(extent));
        // Also where strides of 0 would repeat a few numbers for ever.
        let length = length.filter(|&length| length <= storage.len()).ok_or_else(outside)?;
        let mut values = Vec::with_capacity(length);
        for index in 0..length {
            let mut rest = index;
            let mut position = Some(self.offset);
            for (&extent, &stride) in self.shape.iter().zip(&self.strides).rev() {
                let step = (rest % extent).checked_mul(stride);
                position = position.zip(step).and_then(|(position, step)| position.checked_add(step));
                rest /= extent;
            }
            values.push(*position.and_then(|position| storage.get(position)).ok_or_else(outside)?);
        }
        Ok(NamedTensor { name: name.into(), shape: self.shape.clone(), values })
    }
}

fn floats_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}
