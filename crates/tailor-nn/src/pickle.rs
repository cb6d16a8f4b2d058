//! The part of Python's pickle format that PyTorch writes tensors in, and nothing else of it.
//!
//! A pickle is a program for a small stack machine
//! (<https://github.com/python/cpython/blob/main/Lib/pickletools.py>). Python's runs whatever function it names; this one
//! knows three names, makes plain data, and refuses all others. Values lie in one list and refer to each other by
//! position, so that nothing a file holds is copied twice or nested beyond the stack.

use std::collections::HashMap;

/// What a pickle consists of.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`, a bool or a float: nothing that describes a tensor.
    Other,
    Integer(i64),
    Text(String),
    /// A class or function, as `module.name`.
    Global(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Keys and values in the order in which they were added.
    Dict(Vec<(Id, Id)>),
    /// What the file refers to outside the pickle.
    Persistent(Id),
    /// `_rebuild_tensor_v2`'s arguments.
    Tensor(Vec<Id>),
}

/// The position of a value in [`Pickle::values`].
pub type Id = usize;

/// A value and those that it consists of.
#[derive(Debug)]
pub struct Pickle {
    pub values: Vec<Value>,
    pub root: Id,
    /// Bytes that it takes.
    pub length: usize,
}

impl Pickle {
    /// Reads a pickle from the beginning of `bytes`.
    ///
    /// # Errors
    /// Says what ends too early, is unknown, or is more than plain data.
    pub fn read(bytes: &[u8]) -> Result<Pickle, String> {
        let machine =
            Machine { bytes, position: 0, values: Vec::new(), stack: Vec::new(), memo: HashMap::new() };
        machine.run()
    }

    /// The value at a position.
    pub fn get(&self, id: Id) -> &Value {
        &self.values[id]
    }

    /// A tuple's or list's parts.
    pub fn parts(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(parts) | Value::List(parts) => Some(parts),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number that counts something.
    pub fn count(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Integer(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// A tuple of such numbers.
    pub fn counts(&self, id: Id) -> Option<Vec<usize>> {
        self.parts(id)?.iter().map(|&part| self.count(part)).collect()
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    values: Vec<Value>,
    stack: Vec<Entry>,
    memo: HashMap<u32, Id>,
}

#[derive(Clone, Copy)]
enum Entry {
    Value(Id),
    Mark,
}

impl Machine<'_> {
    fn run(mut self) -> Result<Pickle, String> {
        loop {
            let at = self.position;
            match self.byte()? {
                // PROTO
                0x80 => match self.byte()? {
                    0..=5 => {}
                    version => return Err(format!("it is of protocol {version}, and 5 is the newest known")),
                },
                b'.' => {
                    let root = self.pop()?;
                    return Ok(Pickle { values: self.values, root, length: self.position });
                }
                b'(' => self.stack.push(Entry::Mark),
                b'N' | 0x88 | 0x89 => self.push(Value::Other),
                // BINFLOAT
                b'G' => {
                    self.take(8)?;
                    self.push(Value::Other);
                }
                // BININT, BININT1, BININT2, LONG1
                b'J' => {
                    let number = i32::from_le_bytes(self.array()?);
                    self.push(Value::Integer(number.into()));
                }
                b'K' => {
                    let number = self.byte()?;
                    self.push(Value::Integer(number.into()));
                }
                b'M' => {
                    let number = u16::from_le_bytes(self.array()?);
                    self.push(Value::Integer(number.into()));
                }
                0x8a => {
                    let length = self.byte()?.into();
                    let value = long(self.take(length)?);
                    self.push(value);
                }
                // BINUNICODE, SHORT_BINUNICODE
                b'X' => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    self.push_text(length)?;
                }
                0x8c => {
                    let length = self.byte()?.into();
                    self.push_text(length)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Value::Global(format!("{module}.{name}")));
                }
                // STACK_GLOBAL
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Text(module), Value::Text(name)) = (&self.values[module], &self.values[name])
                    else {
                        return Err("it names a class by something that is no text".into());
                    };
                    let global = format!("{module}.{name}");
                    self.push(Value::Global(global));
                }
                // BINPUT, LONG_BINPUT, MEMOIZE
                b'q' => {
                    let key = self.byte()?.into();
                    self.remember(key)?;
                }
                b'r' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.remember(key)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                // BINGET, LONG_BINGET
                b'h' => {
                    let key = self.byte()?.into();
                    self.recall(key)?;
                }
                b'j' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.recall(key)?;
                }
                // FRAME: how the bytes are grouped does not matter when all are there.
                0x95 => drop(self.take(8)?),
                b')' => self.push(Value::Tuple(Vec::new())),
                code @ 0x85..=0x87 => {
                    let mut parts = Vec::new();
                    for _ in 0..code - 0x84 {
                        parts.push(self.pop()?);
                    }
                    parts.reverse();
                    self.push(Value::Tuple(parts));
                }
                b't' => {
                    let parts = self.pop_to_mark()?;
                    self.push(Value::Tuple(parts));
                }
                b']' => self.push(Value::List(Vec::new())),
                b'}' => self.push(Value::Dict(Vec::new())),
                b'a' => {
                    let part = self.pop()?;
                    self.append(vec![part])?;
                }
                b'e' => {
                    let parts = self.pop_to_mark()?;
                    self.append(parts)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.insert(vec![key, value])?;
                }
                b'u' => {
                    let entries = self.pop_to_mark()?;
                    self.insert(entries)?;
                }
                // BINPERSID
                b'Q' => {
                    let id = self.pop()?;
                    self.push(Value::Persistent(id));
                }
                b'R' => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    self.call(function, arguments)?;
                }
                // BUILD: attributes of the object below, such as a state's version; none of them is needed.
                b'b' => drop(self.pop()?),
                code => {
                    return Err(format!("instruction {code:#04x} at byte {at} is none that tensors need"));
                }
            }
        }
    }

    /// The functions that tensors are made with.
    fn call(&mut self, function: Id, arguments: Id) -> Result<(), String> {
        let (Value::Global(name), Value::Tuple(arguments)) =
            (&self.values[function], &self.values[arguments])
        else {
            return Err("it calls something that is no function".into());
        };
        match (name.as_str(), arguments.as_slice()) {
            ("collections.OrderedDict", []) => self.push(Value::Dict(Vec::new())),
            ("torch._utils._rebuild_tensor_v2", arguments) => {
                let arguments = arguments.to_vec();
                self.push(Value::Tensor(arguments));
            }
            ("torch._utils._rebuild_parameter", [tensor, ..]) => self.stack.push(Entry::Value(*tensor)),
            _ => {
                return Err(format!(
                    "it calls `{name}`, which is more than tensors; save the model's state_dict alone"
                ));
            }
        }
        Ok(())
    }

    fn append(&mut self, parts: Vec<Id>) -> Result<(), String> {
        match self.top()? {
            Value::List(list) => list.extend(parts),
            _ => return Err("it appends to something that is no list".into()),
        }
        Ok(())
    }

    fn insert(&mut self, entries: Vec<Id>) -> Result<(), String> {
        let (pairs, rest) = entries.as_chunks::<2>();
        match self.top()? {
            Value::Dict(dict) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)))
            }
            _ => return Err("it sets a key of something that is no dictionary".into()),
        }
        Ok(())
    }

    fn top(&mut self) -> Result<&mut Value, String> {
        match self.stack.last() {
            Some(&Entry::Value(id)) => Ok(&mut self.values[id]),
            _ => Err(EMPTY.into()),
        }
    }

    fn push(&mut self, value: Value) {
        self.stack.push(Entry::Value(self.values.len()));
        self.values.push(value);
    }

    fn push_text(&mut self, length: usize) -> Result<(), String> {
        let text =
            std::str::from_utf8(self.take(length)?).map_err(|_| "a text in it is not UTF-8")?.to_owned();
        self.push(Value::Text(text));
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        match self.stack.pop() {
            Some(Entry::Value(id)) => Ok(id),
            _ => Err(EMPTY.into()),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mut parts = Vec::new();
        loop {
            match self.stack.pop() {
                Some(Entry::Value(id)) => parts.push(id),
                Some(Entry::Mark) => break,
                None => return Err(EMPTY.into()),
            }
        }
        parts.reverse();
        Ok(parts)
    }

    fn remember(&mut self, key: u32) -> Result<(), String> {
        let Some(&Entry::Value(id)) = self.stack.last() else { return Err(EMPTY.into()) };
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), String> {
        let id =
            *self.memo.get(&key).ok_or_else(|| format!("it refers to a value {key} that it has not made"))?;
        self.stack.push(Entry::Value(id));
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&[u8], String> {
        let end = self.position.checked_add(length).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or("it ends too early")?;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were taken"))
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// Up to the next line break.
    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or("it ends too early")?;
        let line = std::str::from_utf8(&rest[..length]).map_err(|_| "a name in it is not UTF-8")?.to_owned();
        self.position += length + 1;
        Ok(line)
    }
}

const EMPTY: &str = "it takes a value where it has made none";

/// A two's complement number of any length; one that is too long for 64 bits describes no tensor.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Other;
    }
    let sign = if bytes.last().is_some_and(|&byte| byte >= 0x80) { 0xff } else { 0 };
    let mut extended = [sign; 8];
    extended[..bytes.len()].copy_from_slice(bytes);
    Value::Integer(i64::from_le_bytes(extended))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pickle.dumps(value, protocol=2)` of Python 3
    fn read(bytes: &[u8]) -> Pickle {
        Pickle::read(bytes).unwrap()
    }

    #[test]
    fn plain_values_are_read() {
        // (-5, 300, 70000, 2**40, 'ü', [1], {'a': None})
        let bytes = b"\x80\x02(J\xfb\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\x00\x00\x00\x00\x01X\x02\x00\x00\x00\
                      \xc3\xbcq\x00]q\x01K\x01a}q\x02X\x01\x00\x00\x00aq\x03Nstq\x04.";
        let pickle = read(bytes);
        assert_eq!(pickle.length, bytes.len());
        let parts = pickle.parts(pickle.root).unwrap();
        let integers: Vec<&Value> = parts[..4].iter().map(|&id| pickle.get(id)).collect();
        assert_eq!(integers, [-5, 300, 70_000, 1 << 40].map(Value::Integer).each_ref());
        assert_eq!(pickle.text(parts[4]), Some("ü"));
        assert_eq!(pickle.counts(parts[5]), Some(vec![1]));
        let Value::Dict(entries) = pickle.get(parts[6]) else { panic!("a dictionary") };
        assert_eq!((pickle.text(entries[0].0), pickle.get(entries[0].1)), (Some("a"), &Value::Other));
    }

    #[test]
    fn other_functions_are_not_called() {
        let error = Pickle::read(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.").unwrap_err();
        assert!(error.contains("`os.system`"), "{error}");
    }

    #[test]
    fn cut_and_senseless_programs_are_refused() {
        let whole = b"\x80\x02(K\x01K\x02X\x01\x00\x00\x00at.";
        for length in 0..whole.len() {
            assert!(Pickle::read(&whole[..length]).is_err(), "{length} bytes");
        }
        for bytes in [
            &b"."[..],
            b"(.",
            b"t.",
            b"K\x01K\x02a.",
            b"}K\x01e.",
            b"}(K\x01u.",
            b"K\x01R.",
            b"h\x07.",
            b"X\xff\xff\xff\xffa.",
            b"c\xff\nx\n.",
            b"K\x01K\x02\x93.",
            b"q\x01.",
        ] {
            assert!(Pickle::read(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn deep_nesting_and_repetition_take_no_more_than_the_file() {
        let deep = [b")".as_slice(), &vec![0x85; 1 << 20], b"."].concat();
        let pickle = read(&deep);
        assert_eq!(pickle.values.len(), (1 << 20) + 1);
        // Each tuple holds the one before twice.
        let doubled = [b")".as_slice(), &b"q\x00h\x00\x86".repeat(1000), b"."].concat();
        assert_eq!(read(&doubled).values.len(), 1001);
    }
}
