//! Suggestions for mistyped names.

/// `; did you mean `x`?` for the nearest of the known names, or a list of them when none is near.
pub fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        None => String::new(),
        Some((distance, candidate)) if distance <= name.chars().count().div_ceil(3).max(1) => {
            format!("; did you mean `{candidate}`?")
        }
        Some(_) => {
            let quoted: Vec<String> = known.iter().map(|candidate| format!("`{candidate}`")).collect();
            format!("; known are {}", quoted.join(", "))
        }
    }
}

/// Serde's complaint in our words: unknown keys and types with the nearest known one.
pub fn explain(message: &str) -> String {
    for (serde, ours) in [("unknown field ", "unknown key"), ("unknown variant ", "unknown value")] {
        if let Some(rest) = message.strip_prefix(serde) {
            let mut quoted = rest.split('`').skip(1).step_by(2);
            if let Some(name) = quoted.next() {
                return format!("{ours} `{name}`{}", hint(name, quoted));
            }
        }
    }
    let ours = [
        ("missing field", "missing key"),
        ("expected f64", "expected a number"),
        ("expected f32", "expected a number"),
        ("expected usize", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected struct ModelRecipe", "expected a table"),
        ("expected struct DataRecipe", "expected a table"),
        ("expected struct TrainRecipe", "expected a table"),
        ("expected a sequence", "expected a list"),
        ("invalid type", "wrong kind of value"),
        ("invalid value", "impossible value"),
        ("\n", " "),
    ];
    ours.iter().fold(message.to_string(), |message, (serde, ours)| message.replace(serde, ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_suggested_and_a_far_one_lists_what_is_known() {
        assert_eq!(hint("cnn-32-46", ["ann-256-128", "cnn-32-64"]), "; did you mean `cnn-32-64`?");
        assert_eq!(hint("resnet", ["adam", "sgd"]), "; known are `adam`, `sgd`");
    }

    #[test]
    fn serdes_messages_are_put_in_our_words() {
        let message = "unknown field `filter`, expected one of `filters`, `kernel`";
        assert_eq!(explain(message), "unknown key `filter`; did you mean `filters`?");
        assert_eq!(
            explain("unknown variant `adamm`, expected `adam`"),
            "unknown value `adamm`; did you mean `adam`?"
        );
        assert_eq!(explain("missing field `name`"), "missing key `name`");
        let message = "invalid type: string \"many\", expected usize";
        assert_eq!(explain(message), "wrong kind of value: string \"many\", expected a whole number");
    }
}
