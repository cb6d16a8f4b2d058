//! Bad input gets one clear sentence and the right exit code, and nothing that existed is damaged.

mod workbench;

use std::io::Write;

use workbench::{Bench, idx_images, idx_labels, png};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Replaces the training images of a good data set and expects `train` and `data info` to refuse it alike.
fn refuse_images(bytes: &[u8], gz: bool, parts: &[&str]) {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    let plain = bench.path("stripes/train-images-idx3-ubyte");
    std::fs::remove_file(&plain).unwrap();
    bench.write(
        if gz { "stripes/train-images-idx3-ubyte.gz" } else { "stripes/train-images-idx3-ubyte" },
        bytes,
    );
    let before = bench.listing();
    bench.fail(&["data", "info", "--data", "stripes"], 1, parts);
    bench.fail(&["train", &recipe, "--run", "run"], 1, parts);
    assert_eq!(bench.listing(), before, "a refused run leaves no folder");
}

#[test]
fn idx_files_that_lie() {
    let good = idx_images(400, 8, std::iter::repeat_n(7, 400 * 64));
    let zipped = gzip(&good);
    let mut corrupt = zipped.clone();
    let middle = corrupt.len() / 2;
    corrupt[middle] ^= 0xff;
    let huge = [0x0000_0803u32, 1 << 31, 1 << 15, 1 << 15].map(u32::to_be_bytes).concat();

    refuse_images(&zipped[..zipped.len() - 9], true, &["train-images-idx3-ubyte.gz"]);
    refuse_images(&corrupt, true, &["train-images-idx3-ubyte.gz"]);
    refuse_images(&good[..1000], false, &["train-images-idx3-ubyte"]);
    refuse_images(b"\x00\x00\x08\x01\x00\x00\x00\x00", false, &["train-images-idx3-ubyte"]);
    refuse_images(&huge, false, &["train-images-idx3-ubyte"]);
    refuse_images(&idx_images(399, 8, std::iter::repeat_n(7, 399 * 64)), false, &["399", "400"]);
    refuse_images(b"", false, &["train-images-idx3-ubyte"]);
}

#[test]
fn a_changed_fashion_mnist_is_not_taken_for_the_official_one() {
    let bench = Bench::new();
    let bytes = |part: &str, n: u32| {
        bench.write(
            &format!("data/fashion-mnist/{part}-images-idx3-ubyte"),
            idx_images(n, 28, std::iter::repeat_n(1, 784 * n as usize)),
        );
        bench.write(
            &format!("data/fashion-mnist/{part}-labels-idx1-ubyte"),
            idx_labels(n, (0..n).map(|i| (i % 10) as u8)),
        );
    };
    bytes("train", 100);
    bytes("t10k", 20);
    bench.fail(&["data", "info"], 1, &["SHA-256", "2017"]);
    // As a path it is just another data set.
    bench.succeed(&["data", "info", "--data", "data/fashion-mnist"]);
}

#[test]
fn labels_out_of_range_and_csv_errors_are_named_with_their_place() {
    let bench = Bench::new();
    let row = |label: &str, pixels: usize| format!("{label}{}\n", ",7".repeat(pixels));
    struct Case {
        csv: String,
        parts: &'static [&'static str],
    }
    for case in [
        Case { csv: row("0", 16) + &row("1", 15), parts: &["bad.csv", "line 2"] },
        Case { csv: row("0", 16) + &row("one", 16), parts: &["bad.csv", "line 2", "one"] },
        Case { csv: row("0", 16) + "1" + &",7".repeat(15) + ",300\n", parts: &["line 2", "300"] },
        Case { csv: row("0", 15), parts: &["bad.csv", "15"] },
        Case { csv: String::new(), parts: &["bad.csv"] },
    ] {
        bench.write("bad.csv", case.csv);
        bench.fail(&["data", "info", "--data", "bad.csv"], 1, case.parts);
    }
}

#[test]
fn folders_that_cannot_be_learned_from() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("empty")).unwrap();
    bench.fail(&["train", "cnn-32-64", "--data", "empty"], 1, &["empty"]);
    bench.fail(&["train", "cnn-32-64", "--data", "nowhere"], 1, &["nowhere"]);

    for i in 0..40 {
        bench.write(&format!("photos/shoe/{i}.png"), png(28, |x, _| (x * 3 + i) as u8));
    }
    bench.write("photos/hat/only.png", png(28, |x, y| (x * y % 250) as u8));
    bench.fail(&["train", "cnn-32-64", "--data", "photos", "--set", "data.validation=0.2"], 1, &["hat"]);
    bench.fail(&["train", "cnn-32-64", "--data", "photos"], 1, &["hat"]);
    bench.fail(
        &["train", "cnn-32-64", "--data", "photos", "--set", "data.validation=50"],
        1,
        &["data.validation"],
    );
    assert!(!bench.path("runs").exists() || std::fs::read_dir(bench.path("runs")).unwrap().count() == 0);
}

#[test]
fn an_image_bomb_is_refused_without_being_unpacked() {
    let bench = Bench::new();
    bench.succeed(&["train", &bench.stripes_recipe(), "--run", "run", "--quiet"]);
    // The header of a PNG of 60,000 × 60,000 pixels, with a valid checksum, and no pixels.
    let mut header = b"IHDR".to_vec();
    header.extend([60_000u32.to_be_bytes(), 60_000u32.to_be_bytes()].concat());
    header.extend([8, 2, 0, 0, 0]);
    let mut bomb = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d".to_vec();
    bomb.extend(&header);
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    bomb.extend(crc.sum().to_be_bytes());
    bomb.extend(b"\x00\x00\x00\x0aIDAT");
    bench.write("bomb.png", bomb);
    let ran = bench.run(&["predict", "run", "bomb.png"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("bomb.png") && ran.err.contains("60000"), "{}", ran.err);
}

#[test]
fn model_files_that_are_cut_foreign_or_hostile() {
    let bench = Bench::new();
    bench.succeed(&["train", &bench.stripes_recipe(), "--run", "run", "--quiet"]);
    let good = bench.read("run/model.safetensors");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let replaced = |from: &str, to: &str| {
        // A header of the same length: what is replaced must be as long as what it is replaced by.
        assert_eq!(from.len(), to.len());
        let at = good.windows(from.len()).position(|window| window == from.as_bytes());
        let at = at.unwrap_or_else(|| panic!("{from} is not in {}", text(&good[..2000])));
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    struct Case {
        bytes: Vec<u8>,
        parts: &'static [&'static str],
    }
    for case in [
        Case { bytes: good[..good.len() - 1].to_vec(), parts: &["not a complete safetensors file"] },
        Case { bytes: good[..20].to_vec(), parts: &["not a complete safetensors file"] },
        Case { bytes: Vec::new(), parts: &["not a complete safetensors file"] },
        Case { bytes: png(8, |_, _| 0), parts: &["not a complete safetensors file"] },
        Case { bytes: u64::MAX.to_le_bytes().repeat(4), parts: &["not a complete safetensors file"] },
        Case { bytes: replaced("filters = 4\\n", "filters = 9\\n"), parts: &["parameters"] },
        Case { bytes: replaced("tailor.format\":\"1", "tailor.format\":\"7"), parts: &["format is 7"] },
        Case { bytes: replaced("\"conv1.bias\"", "\"conv7.bias\""), parts: &["conv1.bias", "missing"] },
        Case {
            bytes: replaced("type = \\\"max-pool", "type = \\\"max-pole"),
            parts: &["recipe", "max-pool"],
        },
    ] {
        bench.write("bad.safetensors", case.bytes);
        for command in ["evaluate", "predict"] {
            let mut arguments = vec![command, "bad.safetensors"];
            arguments.extend((command == "predict").then_some("run"));
            let parts: Vec<&str> = case.parts.iter().copied().chain(["bad.safetensors"]).collect();
            bench.fail(&arguments, 1, &parts);
        }
    }
    bench.fail(&["evaluate", "nowhere.safetensors"], 1, &["nowhere.safetensors"]);
}

#[test]
fn recipes_that_cannot_be() {
    let bench = Bench::new();
    let recipe = String::from_utf8(bench.read(&bench.stripes_recipe())).unwrap();
    bench.write("typo.toml", recipe.replace("epochs", "epoch"));
    bench.fail(&["train", "typo.toml"], 2, &["typo.toml, line 8", "`epoch`", "did you mean `epochs`?"]);
    bench.write("impossible.toml", recipe.replace("lr = 1e-2", "lr = -1"));
    bench.fail(&["train", "impossible.toml"], 2, &["train.lr", "above 0"]);
    bench.write("deep.toml", recipe.replace("\"max-pool\",", "\"max-pool\", \"max-pool\", \"max-pool\","));
    bench.fail(&["train", "deep.toml"], 2, &["model.layers.3", "max pool"]);
    bench.fail(&["train", "cnn-32-46"], 2, &["`cnn-32-46`", "did you mean `cnn-32-64`?"]);
    bench.fail(&["train", "nowhere.toml"], 1, &["nowhere.toml"]);
    bench.fail(&["train", "--set", "train.lrr=1"], 2, &["train.lrr", "`lr`"]);
    bench.fail(&["train", "--set", "nonsense"], 2, &["nonsense"]);
    bench.fail(&["train", "--epochs", "0"], 2, &["0"]);
    bench.fail(&["train", "--resume"], 2, &["--run"]);
    bench.fail(&["train", "--run", "nowhere", "--resume"], 2, &["nowhere"]);
    assert!(!bench.path("runs").exists() && !bench.path("nowhere").exists());
}

#[test]
fn a_run_does_not_go_on_with_a_broken_checkpoint_another_recipe_or_other_data() {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    bench.succeed(&["train", &recipe, "--run", "run", "--quiet"]);
    let resume = ["train", "--run", "run", "--resume"];
    let [model, checkpoint, settings] = ["model.safetensors", "last.checkpoint", "recipe.toml"]
        .map(|name| bench.read(&format!("run/{name}")));

    bench.write("run/last.checkpoint", &checkpoint[..checkpoint.len() / 2]);
    bench.fail(&resume, 1, &["last.checkpoint", "complete"]);
    std::fs::remove_file(bench.path("run/last.checkpoint")).unwrap();
    bench.fail(&resume, 1, &["last.checkpoint", "another folder"]);
    bench.write("run/last.checkpoint", &checkpoint);

    let changed = String::from_utf8(settings.clone()).unwrap().replace("epochs = 3", "epochs = 9");
    bench.write("run/recipe.toml", changed);
    bench.fail(&resume, 1, &["recipe.toml was changed"]);
    bench.write("run/recipe.toml", settings);

    let images = bench.read("stripes/train-images-idx3-ubyte");
    let mut changed = images.clone();
    changed[5000] ^= 1;
    bench.write("stripes/train-images-idx3-ubyte", changed);
    bench.fail(&resume, 1, &["the data has changed"]);
    bench.write("stripes/train-images-idx3-ubyte", images);

    assert!(model == bench.read("run/model.safetensors"));
    std::fs::remove_file(bench.path("run/model.safetensors")).unwrap();
    bench.fail(&resume, 1, &["model.safetensors", "missing"]);
}

#[test]
fn results_are_not_written_into_another_models_run() {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    bench.succeed(&["train", &recipe, "--run", "a", "--quiet"]);
    bench.succeed(&["train", &recipe, "--run", "b", "--seed", "2", "--quiet"]);
    let before = bench.read("b/predictions.csv");
    bench.fail(&["evaluate", "a", "--output", "b"], 2, &["another model"]);
    bench.fail(&["evaluate", "a", "--output", "b/model.safetensors"], 1, &["b/model.safetensors"]);
    assert!(before == bench.read("b/predictions.csv"));
    bench.succeed(&["evaluate", "b", "--output", "b"]);
}

#[test]
fn a_folder_that_cannot_be_written() {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    bench.write("file", "not a folder");
    bench.fail(&["train", &recipe, "--run", "file/run"], 1, &["file/run"]);
    bench.fail(
        &["data", "preview", "--data", "stripes", "--output", "no/such/folder.png"],
        1,
        &["no/such/folder.png"],
    );
}

/// A full disk is a file system of 1 MB, which only root on Linux can make.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_named_and_what_was_written_before_stays_whole() {
    let bench = Bench::new();
    let recipe = bench.stripes_recipe();
    let disk = bench.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&disk)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    }
    // 46 weights a filter and four bytes each make W = 200 KB. The first checkpoint (3 W, with two moments) and the
    // model (W) fit; the second checkpoint is written beside the first one, and does not.
    let filters = "model.layers.0.filters=1087";
    let ran = bench.run(&["train", &recipe, "--run", "disk/run", "--set", filters, "--quiet"]);
    let checkpoint = std::fs::read(disk.join("run/last.checkpoint")).unwrap();
    let temporary = bench.listing().iter().filter(|name| name.contains(".writing-")).count();
    let unmounted = std::process::Command::new("umount").arg(&disk).status();
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("run/last.checkpoint") && ran.err.contains("space"), "{}", ran.err);
    assert!(tailor_nn::weights::from_safetensors(&checkpoint).is_ok() && temporary == 0);
    assert!(unmounted.is_ok_and(|status| status.success()));
}
