use super::*;

/// What a recipe would say: known keys, a whole number for the batch size, momentum for sgd only.
fn check(assignments: &[Assignment]) -> std::result::Result<(), String> {
    let mut optimizer = "adam";
    for (key, value) in assignments {
        let number = value.parse::<f64>();
        match (key.as_str(), number) {
            ("train.lr", Ok(lr)) if lr > 0.0 => {}
            ("train.weight-decay" | "train.patience", Ok(_)) if key == "train.weight-decay" => {}
            ("train.batch-size", Ok(size)) if size.fract() == 0.0 && size > 0.0 => {}
            ("train.optimizer", Err(_)) if ["adam", "sgd"].contains(&value.as_str()) => optimizer = value,
            ("train.momentum", Ok(_)) if optimizer == "sgd" => {}
            ("train.lr" | "train.batch-size" | "train.optimizer", _) => {
                return Err(format!("impossible value {value}"));
            }
            _ => return Err(format!("unknown key `{key}` with {optimizer}")),
        }
    }
    Ok(())
}

fn space(declarations: &[&str]) -> Result<Space> {
    let mut space = Space::default();
    declarations.iter().try_for_each(|text| space.vary(text))?;
    space.check(&check)?;
    Ok(space)
}

fn file(text: &str) -> Result<Space> {
    let mut space = Space::parse(text, "space.toml")?;
    space.check(&check)?;
    Ok(space)
}

const CONDITIONAL: &str = r#"
    [[vary]]
    key = "train.optimizer"
    choices = ["adam", "sgd"]

    [[vary]]
    key = "train.momentum"
    range = "0.5..0.99"
    when = { "train.optimizer" = "sgd" }

    [[vary]]
    key = "train.lr"
    range = "1e-4..1e-2:log"
    when = { "train.optimizer" = "adam" }

    [[vary]]
    key = "train.lr"
    range = "1e-2..1:log"
    when = { "train.optimizer" = ["sgd"] }
"#;

#[test]
fn the_recipe_decides_which_ranges_are_of_whole_numbers() {
    let space =
        space(&["train.lr=1e-4..1e-2:log", "train.batch-size=32..128", "train.weight-decay=0..1"]).unwrap();
    let domains: Vec<&Domain> = space.parameters.iter().map(|p| &p.domain).collect();
    assert_eq!(*domains[0], Domain::Real { low: 1e-4, high: 1e-2, log: true });
    assert_eq!(*domains[1], Domain::Integer { low: 32, high: 128, step: 1, log: false });
    assert_eq!(*domains[2], Domain::Real { low: 0.0, high: 1.0, log: false });
}

#[test]
fn what_cannot_be_is_refused_with_the_words_it_was_declared_with() {
    for (declaration, part) in [
        ("train.lrr=1e-4..1e-2", "--vary train.lrr=1e-4..1e-2: unknown key `train.lrr`"),
        ("train.lr=-1..1", "impossible value -1"),
        ("train.lr=0.1..0.01", "is empty"),
        ("train.lr=0..1:log", "begins above 0"),
        ("train.lr=1e-4..1e-2:lin", "`:lin` is unknown"),
        ("train.lr=1e-4..many", "`many` is not a number"),
        ("train.lr=nan..1", "finite"),
        ("train.batch-size=16..64:step=0", "at least 1"),
        ("train.batch-size=16..64:log:step=2", "do not go together"),
        ("train.optimizer=adam,adam", "twice"),
        ("train.optimizer=adam,,sgd", "empty choice"),
        ("train.optimizer=adam,lion", "impossible value lion"),
        ("train.lr", "declared as key=range"),
        ("train.momentum=0.5..0.9", "unknown key `train.momentum` with adam"),
    ] {
        let error = space(&[declaration]).unwrap_err().to_string();
        assert!(error.contains(part), "{declaration}: {error}");
    }
    assert!(space(&["train.lr=1..2", "train.lr=2..3"]).unwrap_err().to_string().contains("varies already"));
    assert!(space(&[]).unwrap_err().to_string().contains("nothing varies"));
}

#[test]
fn a_space_file_is_refused_where_it_is_wrong() {
    for (text, part) in [
        ("[[vary]]\nkey = \"train.lr\"\n", "space.toml, parameter 1 (train.lr): a parameter has either"),
        ("[[vary]]\nkey = \"train.lr\"\nrange = \"1..2\"\nrang = 1", "unknown field `rang`"),
        ("[[vary]\n", "line 1"),
        ("vary = 3", "space.toml"),
        (
            "[[vary]]\nkey = \"train.lr\"\nrange = \"1..2\"\nwhen = { \"train.optimizer\" = \"sgd\" }",
            "does not vary above",
        ),
        (
            "[[vary]]\nkey = \"train.lr\"\nrange = \"1..2\"\n[[vary]]\nkey = \"train.weight-decay\"\nrange = \"0..1\"\nwhen = { \"train.lr\" = 1 }",
            "conditions are on choices",
        ),
        (
            "[[vary]]\nkey = \"train.optimizer\"\nchoices = [\"adam\"]\n[[vary]]\nkey = \"train.lr\"\nrange = \"1..2\"\nwhen = { \"train.optimizer\" = \"sgd\" }",
            "none of its choices: adam",
        ),
        (
            "[[vary]]\nkey = \"train.optimizer\"\nchoices = [\"adam\"]\nlabels = [\"a\", \"b\"]",
            "2 labels for 1 choices",
        ),
    ] {
        let error = file(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_conditional_parameter_exists_beside_its_choice_only() {
    let space = file(CONDITIONAL).unwrap();
    let adam = space.point(|_| 0.0);
    assert_eq!(adam, [Some(0.0), None, Some(1e-4), None]);
    let sgd = space.point(|_| 0.999_999);
    assert_eq!(sgd, [Some(1.0), Some(0.99), None, Some(1.0)]);
    let settings = space.settings(&sgd);
    let expected = [("train.optimizer", "sgd"), ("train.momentum", "0.99"), ("train.lr", "1")];
    assert_eq!(settings, expected.map(|(key, value)| (key.to_string(), value.to_string())));
    assert_eq!(space.point_of(&space.labels(&sgd)), Some(sgd));
    assert_eq!(space.point_of(&space.labels(&adam)), Some(adam));
}

#[test]
fn a_space_written_down_is_the_same_space() {
    let tables = r#"
        [[vary]]
        key = "train.batch-size"
        choices = [32, 64]
        [[vary]]
        key = "train.lr"
        range = "1e-5..1e-2:log"
        when = { "train.batch-size" = 64 }
    "#;
    for text in [CONDITIONAL, tables] {
        let space = file(text).unwrap();
        let again = file(&space.to_toml()).unwrap();
        assert_eq!(again.to_toml(), space.to_toml());
        let domains = |space: &Space| -> Vec<_> {
            space.parameters.iter().map(|p| (p.key.clone(), p.domain.clone(), p.conditions.clone())).collect()
        };
        assert_eq!(domains(&again), domains(&space));
    }
}

#[test]
fn a_table_can_be_a_choice_and_has_a_label() {
    let text = r#"
        [[vary]]
        key = "model.layers"
        choices = [[{ type = "conv", filters = 8 }, "max-pool"], []]
        labels = ["one", "none"]
    "#;
    let space = Space::parse(text, "file").unwrap();
    let point = space.point(|_| 0.0);
    assert_eq!(space.labels(&point)["model.layers"], "one");
    assert!(space.settings(&point)[0].1.contains("filters = 8"), "{:?}", space.settings(&point));
    assert_eq!(Space::parse(&space.to_toml(), "file").unwrap().settings(&point), space.settings(&point));
}

mod places {
    use super::super::*;
    use proptest::prelude::*;

    fn domains() -> impl Strategy<Value = Domain> {
        prop_oneof![
            (-1e3..1e3, 1e-3..1e3).prop_map(|(low, width): (f64, f64)| Domain::Real {
                low,
                high: low + width,
                log: false
            }),
            (1e-6..1.0, 1.5..1e4).prop_map(|(low, ratio): (f64, f64)| Domain::Real {
                low,
                high: low * ratio,
                log: true
            }),
            (-50i64..50, 0i64..90, 1i64..7).prop_map(|(low, width, step)| Domain::Integer {
                low,
                high: low + width,
                step,
                log: false
            }),
            (1i64..50, 1i64..500).prop_map(|(low, width)| Domain::Integer {
                low,
                high: low + width,
                step: 1,
                log: true
            }),
            (1usize..9).prop_map(|n| {
                let values: Vec<String> = (0..n).map(|i| format!("c{i}")).collect();
                Domain::Choice { labels: values.clone(), values }
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_value_comes_back_from_its_place_and_from_its_text(domain in domains(), unit in 0.0..1.0f64) {
            let value = domain.at(unit);
            prop_assert_eq!(domain.value_of(&domain.label(value)), Some(value), "{:?}", &domain);
            let again = domain.at(domain.unit(value));
            match domain {
                // Rounded to four digits both times.
                Domain::Real { low, high, .. } => {
                    let digit = 1e-3 * value.abs().max(again.abs()).max(1e-9);
                    prop_assert!((again - value).abs() <= digit && (low..=high).contains(&value));
                }
                _ => prop_assert_eq!(again, value),
            }
        }

        #[test]
        fn every_value_of_a_small_domain_has_an_equal_share(low in -9i64..9, step in 1i64..4, size in 1i64..6) {
            let domain = Domain::Integer { low, high: low + step * (size - 1), step, log: false };
            let mut counts = vec![0; size as usize];
            for i in 0..600 {
                let value = domain.at((f64::from(i) + 0.5) / 600.0) as i64;
                counts[((value - low) / step) as usize] += 1;
            }
            prop_assert!(counts.iter().all(|count| (count - 600 / size as i32).abs() <= 1), "{counts:?}");
        }
    }
}
