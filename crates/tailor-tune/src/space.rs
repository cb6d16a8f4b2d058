//! What may vary: parameters with their ranges, and the conditions under which they exist.
//!
//! ```toml
//! [[vary]]
//! key = "train.lr"
//! range = "1e-4..1e-2:log"
//!
//! [[vary]]
//! key = "train.optimizer"
//! choices = ["adam", { type = "sgd", nesterov = true }]
//! labels = ["adam", "nesterov"]                       # optional; by default the values themselves
//!
//! [[vary]]
//! key = "train.optimizer.momentum"
//! range = "0.5..0.99"
//! when = { "train.optimizer" = "nesterov" }           # only beside this choice
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Everything that may vary, in the order in which values are chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Space {
    /// Parameters; one that depends on another stands below it.
    pub parameters: Vec<Parameter>,
}

/// One setting that varies.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The setting's name, such as `train.lr`.
    pub key: String,
    /// The values it may take.
    pub domain: Domain,
    /// It exists only where each of these parameters (by position) has one of these choices (by position).
    pub conditions: Vec<(usize, Vec<usize>)>,
    /// The words it was declared with, for errors.
    place: String,
}

/// The values of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// Every number between two, both included.
    Real {
        /// The lowest.
        low: f64,
        /// The highest.
        high: f64,
        /// Whether equal ratios, and not equal differences, are equally far.
        log: bool,
    },
    /// Whole numbers `low`, `low + step`, … up to `high`.
    Integer {
        /// The lowest.
        low: i64,
        /// No value is above it.
        high: i64,
        /// Between two neighbors.
        step: i64,
        /// Whether equal ratios, and not equal differences, are equally far.
        log: bool,
    },
    /// One of a list.
    Choice {
        /// How people call them.
        labels: Vec<String>,
        /// What the setting is set to, as TOML or a bare word.
        values: Vec<String>,
    },
}

/// A value for each parameter of a space, in its order: a number, a whole number or the position of a choice; none where
/// the parameter's conditions do not hold.
pub type Point = Vec<Option<f64>>;

/// A setting and the text it is set to.
pub type Assignment = (String, String);

/// Tells whether settings are possible, or why not.
pub type Check<'a> = &'a dyn Fn(&[Assignment]) -> std::result::Result<(), String>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpaceFile {
    vary: Vec<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declaration {
    #[serde(rename = "key")]
    _key: String,
    range: Option<String>,
    choices: Option<Vec<toml::Value>>,
    labels: Option<Vec<String>>,
    #[serde(default)]
    when: BTreeMap<String, toml::Value>,
}

impl Space {
    /// Reads a space file; `origin` names it in errors.
    ///
    /// # Errors
    /// [`Error::Space`] names the parameter and what is wrong with it.
    pub fn parse(text: &str, origin: &str) -> Result<Space> {
        let refuse = |reason: String| Error::Space { place: origin.into(), reason };
        let file: SpaceFile = toml::from_str(text).map_err(|error| {
            let line =
                error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            refuse(format!("line {line}: {}", error.message().replace('\n', " ")))
        })?;
        let mut space = Space::default();
        for (position, value) in file.vary.into_iter().enumerate() {
            let key = value.get("key").and_then(toml::Value::as_str).unwrap_or("without key").to_string();
            let place = format!("{origin}, parameter {} ({key})", position + 1);
            let refuse = |reason: String| Error::Space { place: place.clone(), reason };
            let declaration: Declaration = value
                .try_into()
                .map_err(|error: toml::de::Error| refuse(error.message().replace('\n', " ")))?;
            let domain = declaration.domain().map_err(refuse)?;
            let conditions = space.conditions(&declaration.when).map_err(refuse)?;
            space.add(Parameter { key, domain, conditions, place })?;
        }
        Ok(space)
    }

    /// Adds a parameter declared as `key=range`: `train.lr=1e-4..1e-2:log`, `train.optimizer=adam,sgd`.
    ///
    /// # Errors
    /// [`Error::Space`] says what is wrong with it.
    pub fn vary(&mut self, text: &str) -> Result<()> {
        let place = format!("--vary {text}");
        let refuse = |reason: String| Error::Space { place: place.clone(), reason };
        let (key, range) = text.split_once('=').filter(|(key, _)| !key.trim().is_empty()).ok_or_else(|| {
            refuse("a parameter is declared as key=range, such as train.lr=1e-4..1e-2:log or train.optimizer=adam,sgd".into())
        })?;
        let domain = Domain::parse(range.trim()).map_err(refuse)?;
        self.add(Parameter { key: key.trim().into(), domain, conditions: Vec::new(), place })
    }

    fn add(&mut self, parameter: Parameter) -> Result<()> {
        let again =
            self.parameters.iter().any(|other| other.key == parameter.key && !other.excludes(&parameter));
        if again {
            let reason = format!(
                "`{}` varies already; two ranges of one key need conditions that exclude each other",
                parameter.key
            );
            return Err(Error::Space { place: parameter.place, reason });
        }
        self.parameters.push(parameter);
        Ok(())
    }

    fn conditions(
        &self,
        when: &BTreeMap<String, toml::Value>,
    ) -> std::result::Result<Vec<(usize, Vec<usize>)>, String> {
        let condition = |(key, wanted): (&String, &toml::Value)| {
            let position = self
                .parameters
                .iter()
                .position(|parameter| parameter.key == *key)
                .ok_or_else(|| format!("its condition names `{key}`, which does not vary above it"))?;
            let Domain::Choice { labels, .. } = &self.parameters[position].domain else {
                return Err(format!(
                    "its condition names `{key}`, which has a range; conditions are on choices"
                ));
            };
            let wanted: Vec<String> = match wanted {
                toml::Value::Array(several) => several.iter().map(setting_text).collect(),
                one => vec![setting_text(one)],
            };
            let choice = |wanted: &String| {
                labels.iter().position(|label| label == wanted).ok_or_else(|| {
                    format!(
                        "its condition wants `{key}` to be `{wanted}`, which is none of its choices: {}",
                        labels.join(", ")
                    )
                })
            };
            Ok((position, wanted.iter().map(choice).collect::<std::result::Result<_, _>>()?))
        };
        when.iter().map(condition).collect()
    }

    /// Asks `check` about both ends of every range and about every choice, each alone with what it depends on, and
    /// decides which ranges are of whole numbers: those where a fraction is refused.
    ///
    /// # Errors
    /// [`Error::Space`] with the first refusal.
    pub fn check(&mut self, check: Check) -> Result<()> {
        if self.parameters.is_empty() {
            let reason = "nothing varies; give --space FILE or --vary key=range".to_string();
            return Err(Error::Space { place: "the space".into(), reason });
        }
        for position in 0..self.parameters.len() {
            let needed = self.needed(position);
            let Parameter { key, domain, place, .. } = &mut self.parameters[position];
            let ask = |text: &str| {
                let mut assignments = needed.clone();
                assignments.push((key.clone(), text.to_string()));
                check(&assignments)
            };
            let refuse = |reason: String| Error::Space { place: place.clone(), reason };
            match domain {
                Domain::Choice { values, .. } => {
                    values.iter().try_for_each(|value| ask(value)).map_err(refuse)?
                }
                Domain::Integer { low, high, .. } => {
                    [*low, *high].iter().try_for_each(|end| ask(&end.to_string())).map_err(refuse)?;
                }
                Domain::Real { low, high, log } => {
                    let (low, high, log) = (*low, *high, *log);
                    [low, high].iter().try_for_each(|end| ask(&number_text(*end))).map_err(refuse)?;
                    let are_whole = low.fract() == 0.0 && high.fract() == 0.0;
                    if are_whole && ask(&number_text(low + 0.5)).is_err() {
                        *domain = Domain::Integer { low: low as i64, high: high as i64, step: 1, log };
                    }
                }
            }
        }
        Ok(())
    }

    /// The choices without which a parameter does not exist.
    fn needed(&self, position: usize) -> Vec<Assignment> {
        let mut needed = Vec::new();
        for (parent, choices) in &self.parameters[position].conditions {
            needed.extend(self.needed(*parent));
            let parent = &self.parameters[*parent];
            needed.push((parent.key.clone(), parent.domain.setting(choices[0] as f64)));
        }
        needed
    }

    /// Whether a parameter exists beside the choices above it.
    pub fn is_active(&self, position: usize, point: &[Option<f64>]) -> bool {
        let holds = |(parent, choices): &(usize, Vec<usize>)| {
            point[*parent].is_some_and(|choice| choices.contains(&(choice as usize)))
        };
        self.parameters[position].conditions.iter().all(holds)
    }

    /// A point from one number in `[0, 1)` for each parameter.
    pub fn point(&self, mut unit: impl FnMut(usize) -> f64) -> Point {
        let mut point = Point::new();
        for (position, parameter) in self.parameters.iter().enumerate() {
            let is_active = self.is_active(position, &point);
            point.push(is_active.then(|| parameter.domain.at(unit(position))));
        }
        point
    }

    /// What a point sets, in the order in which it has to be set.
    pub fn settings(&self, point: &[Option<f64>]) -> Vec<Assignment> {
        let parameters = self.parameters.iter().zip(point);
        parameters.filter_map(|(p, value)| Some((p.key.clone(), p.domain.setting((*value)?)))).collect()
    }

    /// A point as people read it: each key with its number or the label of its choice.
    pub fn labels(&self, point: &[Option<f64>]) -> BTreeMap<String, String> {
        let parameters = self.parameters.iter().zip(point);
        parameters.filter_map(|(p, value)| Some((p.key.clone(), p.domain.label((*value)?)))).collect()
    }

    /// The reverse of [`Space::labels`]; none if it is not a point of this space.
    pub fn point_of(&self, labels: &BTreeMap<String, String>) -> Option<Point> {
        let mut point = Point::new();
        for (position, parameter) in self.parameters.iter().enumerate() {
            let value = match self.is_active(position, &point) {
                true => Some(parameter.domain.value_of(labels.get(&parameter.key)?)?),
                false => None,
            };
            point.push(value);
        }
        Some(point)
    }

    /// The space as a file, such that [`Space::parse`] and [`Space::check`] give the same space.
    pub fn to_toml(&self) -> String {
        let vary = self.parameters.iter().map(|parameter| self.declaration(parameter)).collect();
        toml::to_string(&SpaceFile { vary }).expect("a space is TOML")
    }

    fn declaration(&self, parameter: &Parameter) -> toml::Value {
        let mut table = toml::Table::new();
        table.insert("key".into(), parameter.key.clone().into());
        match &parameter.domain {
            Domain::Choice { labels, values } => {
                let choices: Vec<toml::Value> = values.iter().map(|value| setting_value(value)).collect();
                table.insert("choices".into(), choices.into());
                table.insert("labels".into(), labels.clone().into());
            }
            range => {
                table.insert("range".into(), range.description().into());
            }
        }
        let conditions = parameter.conditions.iter().map(|(parent, choices)| {
            let parent = &self.parameters[*parent];
            let labels: Vec<String> =
                choices.iter().map(|choice| parent.domain.label(*choice as f64)).collect();
            (parent.key.clone(), labels.into())
        });
        let when: toml::Table = conditions.collect();
        if !when.is_empty() {
            table.insert("when".into(), when.into());
        }
        table.into()
    }
}

impl Parameter {
    /// Whether two parameters never exist together: some choice that both depend on differs.
    fn excludes(&self, other: &Parameter) -> bool {
        self.conditions.iter().any(|(parent, ours)| {
            let theirs = other.conditions.iter().find(|(theirs, _)| theirs == parent);
            theirs.is_some_and(|(_, theirs)| ours.iter().all(|choice| !theirs.contains(choice)))
        })
    }
}

impl Declaration {
    fn domain(&self) -> std::result::Result<Domain, String> {
        match (&self.range, &self.choices) {
            (Some(range), None) if self.labels.is_none() => Domain::parse(range),
            (None, Some(choices)) => {
                let values: Vec<String> = choices.iter().map(setting_text).collect();
                let labels = self.labels.clone().unwrap_or_else(|| values.clone());
                Domain::choice(labels, values)
            }
            _ => Err(
                "a parameter has either a range, such as \"1e-4..1e-2:log\", or choices with optional labels"
                    .into(),
            ),
        }
    }
}

impl Domain {
    /// `LOW..HIGH`, `LOW..HIGH:log`, `LOW..HIGH:step=N`, or choices parted by commas.
    fn parse(text: &str) -> std::result::Result<Domain, String> {
        let Some((low, rest)) = text.split_once("..") else {
            let values: Vec<String> = text.split(',').map(|value| value.trim().to_string()).collect();
            return Domain::choice(values.clone(), values);
        };
        let mut parts = rest.split(':');
        let number = |text: &str| {
            let value: f64 = text.trim().parse().map_err(|_| {
                format!("`{text}` is not a number; a range is LOW..HIGH, such as 1e-4..1e-2:log")
            })?;
            if value.is_finite() { Ok(value) } else { Err(format!("a range has finite ends, not {text}")) }
        };
        let (low, high) = (number(low)?, number(parts.next().unwrap_or_default())?);
        let (mut log, mut step) = (false, None);
        for option in parts {
            match option.split_once('=') {
                None if option == "log" => log = true,
                Some(("step", text)) => step = Some(number(text)?),
                _ => return Err(format!("`:{option}` is unknown; a range can end in `:log` or `:step=N`")),
            }
        }
        if low >= high {
            return Err(format!("the range from {low} to {high} is empty; the lower end comes first"));
        }
        if log && low <= 0.0 {
            return Err(format!("a logarithmic range begins above 0, not at {low}"));
        }
        match step {
            None => Ok(Domain::Real { low, high, log }),
            Some(_) if log => Err("`:log` and `:step` do not go together".into()),
            Some(step) if [low, high, step].iter().all(|n| n.fract() == 0.0) && step >= 1.0 => {
                Ok(Domain::Integer { low: low as i64, high: high as i64, step: step as i64, log })
            }
            Some(step) => Err(format!("a step is for whole numbers and is at least 1, not {step}")),
        }
    }

    fn choice(labels: Vec<String>, values: Vec<String>) -> std::result::Result<Domain, String> {
        if labels.len() != values.len() {
            return Err(format!("there are {} labels for {} choices", labels.len(), values.len()));
        }
        if values.iter().chain(&labels).any(String::is_empty) {
            return Err("an empty choice; choices are parted by commas, such as adam,sgd".into());
        }
        if let Some(twice) = labels.iter().enumerate().find(|(i, label)| labels[..*i].contains(label)) {
            return Err(format!("`{}` is among the choices twice", twice.1));
        }
        Ok(Domain::Choice { labels, values })
    }

    /// How many values there are; none for real numbers.
    pub fn size(&self) -> Option<usize> {
        match self {
            Domain::Real { .. } => None,
            Domain::Integer { low, high, step, .. } => Some(((high - low) / step + 1) as usize),
            Domain::Choice { values, .. } => Some(values.len()),
        }
    }

    /// The value at a place in `[0, 1]`. Real numbers are rounded to four digits: more cannot be told apart.
    pub fn at(&self, unit: f64) -> f64 {
        let unit = unit.clamp(0.0, 1.0);
        let nth = |size: usize| ((unit * size as f64) as usize).min(size - 1);
        match *self {
            Domain::Real { low, high, log: false } => rounded(low + unit * (high - low)).clamp(low, high),
            Domain::Real { low, high, log: true } => {
                rounded((low.ln() + unit * (high.ln() - low.ln())).exp()).clamp(low, high)
            }
            Domain::Integer { low, high, step, log: false } => {
                (low + step * nth(((high - low) / step + 1) as usize) as i64) as f64
            }
            Domain::Integer { low, high, log: true, .. } => {
                // As wide on the scale as the numbers that are rounded to it.
                let (start, end) = ((low as f64 - 0.5).ln(), (high as f64 + 0.5).ln());
                (start + unit * (end - start)).exp().round().clamp(low as f64, high as f64)
            }
            Domain::Choice { ref values, .. } => nth(values.len()) as f64,
        }
    }

    /// Where a value lies in `[0, 1]`: the reverse of [`Domain::at`].
    pub fn unit(&self, value: f64) -> f64 {
        let unit = match *self {
            Domain::Real { low, high, log: false } => (value - low) / (high - low),
            Domain::Real { low, high, log: true } => (value.ln() - low.ln()) / (high.ln() - low.ln()),
            Domain::Integer { low, high, step, log: false } => {
                let size = (high - low) / step + 1;
                ((value - low as f64) / step as f64 + 0.5) / size as f64
            }
            Domain::Integer { low, high, log: true, .. } => {
                let (start, end) = ((low as f64 - 0.5).ln(), (high as f64 + 0.5).ln());
                (value.ln() - start) / (end - start)
            }
            Domain::Choice { ref values, .. } => (value + 0.5) / values.len() as f64,
        };
        unit.clamp(0.0, 1.0)
    }

    /// What the setting is set to.
    pub fn setting(&self, value: f64) -> String {
        match self {
            Domain::Choice { values, .. } => values[value as usize].clone(),
            _ => self.label(value),
        }
    }

    /// A value as people read it.
    pub fn label(&self, value: f64) -> String {
        match self {
            Domain::Real { .. } => number_text(value),
            Domain::Integer { .. } => format!("{value:.0}"),
            Domain::Choice { labels, .. } => labels[value as usize].clone(),
        }
    }

    /// The value of a label or a setting's text; none if it is not in the domain.
    pub fn value_of(&self, text: &str) -> Option<f64> {
        match self {
            Domain::Choice { labels, .. } => {
                labels.iter().position(|label| label == text).map(|at| at as f64)
            }
            Domain::Real { low, high, .. } => text.parse().ok().filter(|value| (low..=high).contains(&value)),
            Domain::Integer { low, high, step, .. } => {
                let value: i64 = text.parse().ok()?;
                ((low..=high).contains(&&value) && (value - low) % step == 0).then_some(value as f64)
            }
        }
    }

    /// The domain as it is declared.
    pub fn description(&self) -> String {
        let scale = |log: bool| if log { ":log" } else { "" };
        match self {
            Domain::Real { low, high, log } => {
                format!("{}..{}{}", number_text(*low), number_text(*high), scale(*log))
            }
            Domain::Integer { low, high, step: 1, log } => format!("{low}..{high}{}", scale(*log)),
            Domain::Integer { low, high, step, .. } => format!("{low}..{high}:step={step}"),
            Domain::Choice { labels, .. } => labels.join(", "),
        }
    }
}

/// A number as TOML: the shortest text that reads back as the same number.
fn number_text(value: f64) -> String {
    match value.abs() {
        m if m != 0.0 && !(1e-3..1e6).contains(&m) => format!("{value:e}"),
        _ => value.to_string(),
    }
}

/// Four significant digits.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().expect("a number that was just written")
}

/// The reverse of [`setting_text`], as settings are read: a TOML value where the text is one, else a string.
fn setting_value(text: &str) -> toml::Value {
    let document: Option<toml::Table> = toml::from_str(&format!("value = {text}")).ok();
    let value = document.and_then(|mut table| table.remove("value").filter(|_| table.is_empty()));
    value.unwrap_or_else(|| text.into())
}

/// A TOML value as the text of a setting; a string without its quotes.
fn setting_text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "space_tests.rs"]
mod tests;
