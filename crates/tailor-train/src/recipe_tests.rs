//! Tests of reading, checking and overriding recipes.

use super::*;
use tailor_nn::Shape;
use tailor_nn::architecture::PlannedLayer;

const GREY_28: Shape = Shape::Image { height: 28, width: 28, channels: 1 };

fn built_in(name: &str) -> Recipe {
    Recipe::parse(Recipe::built_in_text(name).unwrap(), name).unwrap()
}

fn set(key: &str, value: &str) -> Override {
    Override { key: key.into(), value: value.into() }
}

#[test]
fn the_reference_recipes_have_exactly_the_published_parameters() {
    // Convolutions have k·k·in·out + out weights, dense layers in·out + out, batch norm 2·c and 2·c statistics.
    struct Case {
        recipe: &'static str,
        trainable: usize,
        statistics: usize,
    }
    for case in [
        // 784·256+256 + 256·128+128 + 128·10+10
        Case { recipe: "ann-256-128", trainable: 235_146, statistics: 0 },
        // 320 + 18,496 + 1600·128+128 + 1,290
        Case { recipe: "cnn-32-64", trainable: 225_034, statistics: 0 },
        // 320 + 18,496 + 36,928 + 576·64+64 + 650
        Case { recipe: "cnn-32-64-64", trainable: 93_322, statistics: 0 },
        // 320+64 + 18,496+128 + 73,856+256 + 1152·128+128 + 1,290, and 2·(32+64+128) statistics
        Case { recipe: "cnn-bn-32-64-128", trainable: 241_994, statistics: 448 },
        // 640 + 36,928 + 73,856 + 147,584 + 2048·256+256 + 2,570
        Case { recipe: "cnn-64-64-128-128", trainable: 786_122, statistics: 0 },
        // 320 + 18,496 + 73,856 + 2·2·128·128+128 + 1,290
        Case { recipe: "cnn-32-64-128", trainable: 159_626, statistics: 0 },
        // 640+128 + 73,856+256 + 5·5·128·256+256 + 2,570, and 2·(64+128) statistics
        Case { recipe: "cnn-bn-64-128", trainable: 896_906, statistics: 384 },
        // 320+64 + 9,248+64 + 18,496+128 + 36,928+128 + 7·7·64·128+128 + 1,290, and 2·(32+32+64+64) statistics
        Case { recipe: "cnn-bn-4", trainable: 468_202, statistics: 384 },
        // The same, and shortcuts of 1·32+32 and 32·64+64
        Case { recipe: "cnn-bn-skip", trainable: 470_378, statistics: 384 },
        // 156 + 2,416 + 400·120+120 + 120·84+84 + 850: LeCun et al. 1998 count 60,000 with sparse connections in C3
        Case { recipe: "lenet-5", trainable: 61_706, statistics: 0 },
    ] {
        let (trainable, statistics) = parameters(&built_in(case.recipe), GREY_28, 10);
        assert_eq!((trainable, statistics), (case.trainable, case.statistics), "{}", case.recipe);
    }
}

#[test]
fn transfer_learning_trains_what_the_reference_system_trains() {
    let trained = |recipe: &Recipe, epoch: usize| {
        let device = tailor_nn::Device::flex().autodiff();
        let network = tailor_nn::Network::new(&recipe.architecture(), GREY_28, 10, 1, &device).unwrap();
        let phase = crate::phases::ActivePhase::of_epoch(&recipe.train, epoch).train;
        let summary = crate::groups::freeze(&phase, network).unwrap().summary();
        (summary.trainable(), summary.parameters())
    };
    // 9·3+3 from one channel to three, 11,520·128+128 after the flatten of 3×3×1,280, and 1,290; the base has 2,223,872
    // weights and 34,112 statistics
    let head = 30 + 1_474_688 + 1_290;
    assert_eq!((head, head + 2_257_984), (1_476_008, 3_733_992));
    assert_eq!(trained(&built_in("mobilenet-v2"), 0), (1_476_008, 3_733_992));
    let unfrozen = built_in("mobilenet-v2-unfrozen");
    assert_eq!(trained(&unfrozen, 0), (1_476_008, 3_733_992));
    // Blocks 15 to 17 and the last convolution with its norm: 960→160, 960→160 and 960→320 with what leads to them
    let last = 2 * (160 * 960 + 2 * 960 + 9 * 960 + 2 * 960 + 960 * 160 + 2 * 160)
        + (160 * 960 + 2 * 960 + 9 * 960 + 2 * 960 + 960 * 320 + 2 * 320)
        + (320 * 1280 + 2 * 1280);
    assert_eq!(trained(&unfrozen, 4), (1_476_008 + last, 3_733_992));
    assert_eq!(trained(&unfrozen, 9), (1_476_008 + 2_223_872, 3_733_992));
}

fn parameters(recipe: &Recipe, input: Shape, classes: usize) -> (usize, usize) {
    let plan = recipe.architecture().plan(input, classes).unwrap();
    let sum = |count: fn(&PlannedLayer) -> usize| plan.iter().map(count).sum();
    (sum(PlannedLayer::trainable), sum(PlannedLayer::statistics))
}

#[test]
fn the_larger_networks_have_the_published_parameters_on_their_own_images() {
    const PHOTO: Shape = Shape::Image { height: 224, width: 224, channels: 3 };
    const CIFAR: Shape = Shape::Image { height: 32, width: 32, channels: 3 };
    // torchvision's resnet18: 11,689,512; with one channel 2·49·64 fewer, and 990·513 fewer with ten classes.
    assert_eq!(parameters(&built_in("resnet-18"), PHOTO, 1000).0, 11_689_512);
    assert_eq!(parameters(&built_in("resnet-18"), GREY_28, 10).0, 11_689_512 - 6_272 - 507_870);
    // He et al. 2016, table 6: 0.27 million; counted with option A, 16·27 + 6·2,304 + 4,608 + 5·9,216 + 18,432 +
    // 5·36,864 in convolutions, 2·16·7 + 2·32·6 + 2·64·6 in norms, 650 in the classifier.
    assert_eq!(parameters(&built_in("resnet-20"), CIFAR, 10).0, 269_722);
    assert_eq!(parameters(&built_in("resnet-20"), GREY_28, 10).0, 269_722 - 288);
    // torchvision's efficientnet_b0
    assert_eq!(parameters(&built_in("efficientnet-b0"), PHOTO, 1000).0, 5_288_548);
    // torchvision's vgg11_bn without its three dense layers, and a classifier of 512·10+10; 2·9·64 fewer with one channel
    assert_eq!(parameters(&built_in("vgg-11"), PHOTO, 10).0, 9_225_984 + 5_130);
    assert_eq!(parameters(&built_in("vgg-11"), GREY_28, 10).0, 9_225_984 + 5_130 - 1_152);
    // DeiT-Ti/16 (Touvron et al. 2021)
    let patches = Override {
        key: "model.layers.0".into(),
        value: "{ type = \"conv\", filters = 192, kernel = 16, stride = 16 }".into(),
    };
    let vit = built_in("vit-tiny").with_overrides(&[patches]).unwrap();
    assert_eq!(parameters(&vit, PHOTO, 1000).0, 5_717_416);
}

#[test]
fn every_built_in_recipe_is_named_as_it_says_and_survives_being_written() {
    for (name, text) in Recipe::built_in() {
        let recipe = Recipe::parse(text, name).unwrap();
        assert_eq!(recipe.name, name);
        assert_eq!(Recipe::parse(&recipe.to_toml(), "again").unwrap(), recipe);
    }
    built_in(DEFAULT);
}

#[test]
fn errors_name_the_line_and_the_nearest_key() {
    struct Case {
        text: &'static str,
        expected: &'static [&'static str],
    }
    for case in [
        Case {
            text: "name = \"x\"\n[train]\nepoch = 3\n",
            expected: &["r.toml, line 3", "`epoch`", "`epochs`"],
        },
        Case {
            text: "name = \"x\"\n[model]\nlayers = [\n  { type = \"conv\", filter = 3 },\n]\n",
            expected: &["line 4", "`filter`", "`filters`"],
        },
        Case { text: "name = \"x\"\n[model]\nlayers = [\"max-pol\"]\n", expected: &["line 3", "`max-pool`"] },
        Case { text: "name = \n", expected: &["line 1"] },
        Case { text: "[model]\nlayers = []\n", expected: &["missing key `name`"] },
        Case {
            text: "name = \"x\"\n[model]\nlayers = []\n[train]\nlr = -1\n",
            expected: &["train.lr", "above 0", "-1"],
        },
        Case {
            text: "name = \"x\"\n[model]\nlayers = []\n[train]\noptimizer = { type = \"adam\", beta1 = 1.5 }\n",
            expected: &["beta1", "1.5"],
        },
        Case { text: "name = \"../x\"\n[model]\nlayers = []\n", expected: &["name must consist of letters"] },
        Case {
            text: "name = \"x\"\n[model]\nlayers = []\n[train]\nlabel-smoothing = nan\n",
            expected: &["train.label-smoothing"],
        },
        Case {
            text: "name = \"x\"\n[model]\nlayers = []\n[train]\nwarmup-epochs = 1\nschedule = \"one-cycle\"\n",
            expected: &["one-cycle"],
        },
        Case {
            text: "name = \"x\"\n[model]\nlayers = []\n[train]\nema = 1\n",
            expected: &["train.ema", "0.999", "not 1"],
        },
        Case {
            text: "name = \"x\"\n[model]\nlayers = []\n[train]\nema = 0.9\nlook-ahead = { every = 5 }\n",
            expected: &["train.ema and train.look-ahead", "choose one"],
        },
        Case {
            text: "name = \"x\"\n[model]\nlayers = []\n[train]\nlook-ahead = { share = 0 }\n",
            expected: &["train.look-ahead.share"],
        },
        Case {
            text: "name = \"x\"\n[model]\nlayers = []\n[data]\nvalidation = 10.5\n",
            expected: &["data.validation", "10.5"],
        },
    ] {
        let error = Recipe::parse(case.text, "r.toml").unwrap_err().to_string();
        for expected in case.expected {
            assert!(error.contains(expected), "{:?} is not in: {error}", expected);
        }
        assert!(!error.contains('\n'), "more than a sentence: {error}");
    }
}

#[test]
fn overrides_replace_values_lists_and_whole_tables() {
    let recipe = built_in("cnn-32-64")
        .with_overrides(&[
            set("train.lr", "3e-4"),
            set("train.optimizer", "sgd"),
            set("train.optimizer.nesterov", "true"),
            set("model.layers.0.filters", "16"),
            set("data.augment", "[]"),
            set("train.patience", "3"),
            set("data.source", "some folder/with spaces"),
            set("model.init", "he-normal"),
        ])
        .unwrap();
    assert_eq!(recipe.train.lr, 3e-4);
    assert_eq!(recipe.train.optimizer, OptimizerSpec::Sgd { momentum: 0.9, nesterov: true });
    assert!(matches!(recipe.model.layers[0], LayerSpec::Conv(conv) if conv.filters == 16));
    assert!(recipe.data.augment.is_empty());
    assert_eq!(recipe.train.patience, Some(3));
    assert_eq!(recipe.data.source, "some folder/with spaces");
    assert_eq!(recipe.architecture().initialization, Initialization::HeNormal);
    assert_eq!(Recipe::parse(&recipe.to_toml(), "again").unwrap(), recipe);
}

#[test]
fn overrides_only_have_to_make_sense_together_and_a_new_type_brings_its_own_defaults() {
    let recipe = built_in("cnn-32-64").with_overrides(&[set("train.warmup-epochs", "1")]).unwrap();
    let overrides = [set("train.schedule", "one-cycle"), set("train.warmup-epochs", "0")];
    assert!(matches!(recipe.with_overrides(&overrides).unwrap().train.schedule, Schedule::OneCycle { .. }));
    let recipe = recipe.with_overrides(&[set("train.optimizer.type", "sgd")]).unwrap();
    assert_eq!(recipe.train.optimizer, OptimizerSpec::Sgd { momentum: 0.9, nesterov: false });
    let error = recipe.with_overrides(&[set("train.warmup-epochs", "25")]).unwrap_err().to_string();
    assert!(error.contains("leaves none of the 25 epochs"), "{error}");
}

#[test]
fn wrong_overrides_name_themselves_and_the_nearest_key() {
    for (key, value, expected) in [
        ("train.lrr", "1", "`lr`"),
        ("trian.lr", "1", "`train`"),
        ("train.epochs", "0", "at least 1"),
        ("train.epochs", "many", "epochs=many"),
        ("model.layers.99.filters", "1", "0 to 5"),
        ("train.lr.x", "1", "plain value"),
        ("train.optimizer", "adamm", "`adam`"),
        ("model.init", "he", "`he-normal`"),
        ("data.augment.0.degrees", "-5", "data.augment.0"),
    ] {
        let error = built_in("cnn-32-64").with_overrides(&[set(key, value)]).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("--set"), "{expected} is not in: {error}");
    }
}

#[test]
fn a_set_argument_needs_a_key_and_a_value() {
    assert_eq!("train.lr=1".parse(), Ok(set("train.lr", "1")));
    assert_eq!("data.source = a=b".parse(), Ok(set("data.source", "a=b")));
    assert!("train.lr".parse::<Override>().is_err());
    assert!("=1".parse::<Override>().is_err());
}

#[test]
fn an_unknown_recipe_is_answered_with_the_nearest() {
    let error = Recipe::built_in_text("cnn-32-46").unwrap_err().to_string();
    assert!(error.contains("`cnn-32-46`") && error.contains("did you mean `cnn-32-64`?"), "{error}");
}
