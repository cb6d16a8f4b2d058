//! Networks that begin with published weights, as a user trains them.

mod workbench;

use tailor_nn::architecture::{Architecture, LayerSpec};
use tailor_nn::weights::{NamedTensor, from_safetensors, to_safetensors};
use tailor_nn::{Device, Network, Shape};
use workbench::Bench;

/// ResNet-18 with any weights, under torchvision's names, on grey images that the test's data set has; and a recipe for it.
fn weights(bench: &Bench) -> Vec<NamedTensor> {
    let shape = Shape::Image { height: 12, width: 12, channels: 3 };
    let architecture = Architecture::new(vec![LayerSpec::Resnet18 {}]);
    let network = Network::new(&architecture, shape, 4, 3, &Device::flex()).unwrap();
    let renamed = network.export().into_iter().filter_map(|mut tensor| {
        let name = tensor.name.strip_prefix("base1.")?;
        let (block, rest) = match name.strip_prefix("block") {
            Some(block) => block.split_once('.').unwrap(),
            None => ("", name),
        };
        tensor.name = match block.parse::<usize>() {
            Ok(block) => {
                let rest =
                    rest.replace("shortcut.conv1", "downsample.0").replace("shortcut.bn1", "downsample.1");
                format!("layer{}.{}.{rest}", (block - 1) / 2 + 1, (block - 1) % 2)
            }
            Err(_) => rest.into(),
        };
        Some(tensor)
    });
    let tensors: Vec<NamedTensor> = renamed.collect();
    bench.write("resnet18.safetensors", to_safetensors(&tensors, &Default::default()));
    tensors
}

/// A recipe with that base, frozen.
fn recipe(bench: &Bench) -> String {
    let recipe = "name = \"transfer\"\n[model]\nlayers = [\"resnet-18\", \"global-average-pool\"]\n\
        [data]\nsource = \"stripes\"\nvalidation = 40\nnormalize = \"imagenet\"\n\
        [train]\nbatch-size = 20\n[[train.groups]]\nmatch = \"base1.*\"\nfrozen = true\n";
    bench.stripes("stripes");
    bench.write("transfer.toml", recipe);
    "transfer.toml".into()
}

#[test]
fn a_frozen_base_keeps_the_weights_of_the_file_and_the_run_resumes_without_it() {
    let bench = Bench::new();
    let (theirs, recipe) = (weights(&bench), recipe(&bench));
    let train = ["train", &recipe, "--weights", "resnet18.safetensors", "--epochs", "1", "--run", "run"];
    bench.succeed(&train);
    let (ours, _) = from_safetensors(&bench.read("run/model.safetensors")).unwrap();
    let values = |tensors: &[NamedTensor], name: &str| {
        tensors.iter().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("{name}")).values.clone()
    };
    assert_eq!(
        values(&ours, "base1.block3.shortcut.bn1.weight"),
        values(&theirs, "layer2.0.downsample.1.weight")
    );
    assert_eq!(
        values(&ours, "base1.block8.conv2.weight").len(),
        values(&theirs, "layer4.1.conv2.weight").len()
    );
    let first = values(&ours, "base1.bn1.running_mean");
    assert_eq!(first, values(&theirs, "bn1.running_mean"));

    let written = String::from_utf8(bench.read("run/recipe.toml")).unwrap();
    assert!(written.contains("resnet18.safetensors"), "{written}");
    std::fs::remove_file(bench.path("resnet18.safetensors")).unwrap();
    bench.succeed(&["train", "--run", "run", "--resume"]);
    bench.succeed(&["evaluate", "run"]);
}

#[test]
fn weights_that_cannot_be_had_or_do_not_fit_are_explained_before_a_folder_is_made() {
    let bench = Bench::new();
    let mut tensors = weights(&bench);
    let recipe = recipe(&bench);
    tensors.retain(|tensor| tensor.name != "layer3.0.bn2.bias");
    bench.write("incomplete.safetensors", to_safetensors(&tensors, &Default::default()));
    bench.write("text.pth", "not weights");
    let stripes = bench.stripes_recipe();
    let before = bench.listing();
    for (file, code, parts) in [
        ("nowhere.pth", 1, ["cannot read", "nowhere.pth"]),
        ("text.pth", 1, ["text.pth", "no complete safetensors file"]),
        ("incomplete.safetensors", 1, ["incomplete.safetensors", "`base1.block5.bn2.bias` is missing"]),
        ("imagenet", 2, ["resnet-18", "--weights FILE"]),
    ] {
        bench.fail(&["train", &recipe, "--weights", file, "--run", "run"], code, &parts);
    }
    bench.fail(&["train", &stripes, "--weights", "imagenet"], 2, &["model.weights", "\"mobilenet-v2\""]);
    assert_eq!(bench.listing(), before);
}
