//! What the program says beside its results: colours, silence and every step, hints, completions, the manual.

#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::process::{Command, Stdio};

use support::command::{Ran, command, command_with_runtime, names_in, run};
use support::fixture;
use support::shell::{VIT, folder, paddle2onnx};

/// Runs `convert --check` of a model that can be converted, whose one line is coloured where colours are shown.
fn checked(arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = command(["convert", "--check"]);
    command
        .arg(fixture(VIT))
        .args(arguments)
        .env_remove("NO_COLOR");
    command.envs(environment.iter().copied());
    run(command)
}

#[test]
fn colours_are_where_they_are_wanted() {
    for (arguments, environment, expected) in [
        (&[][..], &[][..], false),
        (&["--color=always"], &[], true),
        (&["--color", "always"], &[("NO_COLOR", "1")], true),
        (&["--color=never"], &[("CLICOLOR_FORCE", "1")], false),
        (&[], &[("CLICOLOR_FORCE", "1")], true),
        (&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (&["--color=auto"], &[("CLICOLOR_FORCE", "1")], true),
    ] {
        let ran = checked(arguments, environment);
        assert_eq!(ran.code, Some(0), "{ran}");
        let what = format!("{arguments:?} {environment:?}: {ran}");
        assert_eq!(ran.stdout.contains("\u{1b}["), expected, "{what}");
    }
    // Errors of this program, those of clap, and help.
    for arguments in [&["inspect", "nowhere"][..], &["frobnicate"], &["--help"]] {
        for (when, expected) in [("always", true), ("never", false)] {
            let ran = run(command(["--color", when].iter().chain(arguments)));
            let has_colours = (ran.stdout + &ran.stderr).contains("\u{1b}[");
            assert_eq!(has_colours, expected, "{arguments:?} {when}");
        }
    }
    assert_eq!(checked(&["--color=blue"], &[]).code, Some(2));
}

#[test]
fn silence_if_all_is_well() {
    let folder = folder();
    for arguments in [
        "convert VIT -o DIR/m.onnx -q",
        "convert VIT -o DIR/m.onnx --verify --quiet",
        "verify VIT -q",
    ] {
        let ran = paddle2onnx(arguments, folder.path());
        let said = (ran.code, ran.stdout.as_str(), ran.stderr.as_str());
        assert_eq!(said, (Some(0), "", ""), "{arguments}");
    }
    let ran = paddle2onnx("verify VIT -q --atol 0 --rtol 0", folder.path());
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stdout.contains("No parity"), "{ran}");
    let ran = paddle2onnx("convert VIT -o DIR/m.onnx -q --json", folder.path());
    assert!(ran.stdout.starts_with('{'), "{ran}");
    let ran = paddle2onnx("convert nowhere -q", folder.path());
    assert!(
        ran.code == Some(2) && ran.stderr.starts_with("error: "),
        "{ran}"
    );
    for arguments in ["verify VIT -q -v", "zoo run x -q -v", "convert VIT -qv"] {
        assert_eq!(
            paddle2onnx(arguments, folder.path()).code,
            Some(2),
            "{arguments}"
        );
    }
}

#[test]
fn every_step_if_that_is_asked_for() {
    let folder = folder();
    let ran = paddle2onnx("verify VIT -v --batch 1", folder.path());
    assert_eq!(ran.code, Some(0), "{ran}");
    let steps: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("step: "))
        .collect();
    for step in [
        "loading the weights for the reference",
        "batch 1: running ONNX Runtime",
    ] {
        assert!(
            steps.iter().any(|line| line.contains(step)),
            "{step}: {ran}"
        );
    }
    let ran = paddle2onnx(
        "bench VIT --verbose --batch 1 --runs 1 --warmup 0",
        folder.path(),
    );
    assert!(ran.stderr.contains("step: batch 1: measuring"), "{ran}");
}

/// Of the zoo, silence leaves what is not as expected.
#[test]
fn a_zoo_says_what_is_not_as_expected() {
    let folder = folder();
    let path = fixture("paddle-3.3.1/vit/ViT_base_patch16_224");
    let model = |name: &str, limits: &str| {
        format!(
            "[[model]]\nname = '{name}'\npath = '{}'\nbatches = [1]\n{limits}\n",
            path.display()
        )
    };
    let manifest = folder.path().join("zoo.toml");
    let text = model("good", "") + &model("bad", "limits = { nodes = 1 }");
    fs::write(&manifest, text).unwrap();
    let zoo = |arguments: &[&str]| {
        let words = ["zoo", "run", manifest.to_str().unwrap()];
        run(command_with_runtime(words.iter().chain(arguments)))
    };
    let ran = zoo(&["-q"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""), "{ran}");
    assert!(
        ran.stdout.starts_with("bad  ") && !ran.stdout.contains("good"),
        "{ran}"
    );
    assert!(ran.stdout.ends_with("Not as expected\n"), "{ran}");
    let ran = zoo(&["good", "-q"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(0), "", "")
    );
    let ran = zoo(&["good", "-v", "--json"]);
    assert!(ran.stderr.contains("step: 0 of 1 done; good\n"), "{ran}");
}

#[test]
fn misspelt_names_get_a_hint() {
    let folder = folder();
    let detector = fixture("paddle-2.6.2/inputs/detector")
        .display()
        .to_string();
    let custom = fixture("paddle-2.6.2/custom_op/single")
        .display()
        .to_string();
    for (arguments, words) in [
        (
            format!("verify {detector} --shape image1=1x3x64x96"),
            "no input `image1`, which --shape names; similar names: `image`",
        ),
        (
            format!("verify {detector} --range scal_factor=1..2"),
            "no input `scal_factor`, which --range names; similar names: `scale_factor`",
        ),
        (
            "convert VIT -o DIR/m.onnx --outputs layer_norm_0.tmp2".to_owned(),
            "no value of the model is called `layer_norm_0.tmp2`; similar names: `layer_norm_0.tmp_2`",
        ),
        (
            format!("convert {custom} -o DIR/m.onnx --custom-op leaky_gat=com.example::Gate"),
            "warning: the model has no op `leaky_gat`, which --custom-op names; not supported are: leaky_gate",
        ),
        ("benchmark VIT".to_owned(), "'bench'"),
        ("verify VIT --shapes x=1".to_owned(), "'--shape'"),
    ] {
        let ran = paddle2onnx(&arguments, folder.path());
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(ran.stderr.contains(words), "{words}: {ran}");
    }
    let zoo = fixture("zoo.toml").display().to_string();
    let ran = paddle2onnx(
        &format!("zoo run {zoo} ViT_base_patch16_223"),
        folder.path(),
    );
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("similar names: "), "{ran}");
    // A name that the model has is no cause for a warning.
    let options = "--custom-op leaky_gate=com.example::Gate";
    let ran = paddle2onnx(
        &format!("convert {custom} -o DIR/m.onnx {options}"),
        folder.path(),
    );
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(!ran.stderr.contains("warning"), "{ran}");
}

#[test]
fn completions_for_every_shell() {
    let folder = folder();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = paddle2onnx(&format!("completions {shell}"), folder.path());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran}");
        for word in [
            "paddle2onnx-rs",
            "convert",
            "verify",
            "merge",
            "dequantize",
            "color",
        ] {
            assert!(ran.stdout.contains(word), "{shell}: {word}");
        }
        if shell == "bash" {
            completes_in_bash(&ran.stdout);
        }
    }
    assert_eq!(paddle2onnx("completions tcsh", folder.path()).code, Some(2));
}

/// Has bash complete a subcommand and an option with the script.
fn completes_in_bash(script: &str) {
    let folder = folder();
    let path = folder.path().join("script");
    let function = script
        .split("complete -F ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let function = function.unwrap();
    fs::write(&path, script).unwrap();
    let complete = |words: &str| {
        let line = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             {function} paddle2onnx-rs \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             echo \"${{COMPREPLY[@]}}\"",
            path.display()
        );
        let bash = Command::new("bash")
            .args(["-c", &line])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&bash.stderr).into_owned();
        assert!(bash.status.success(), "{stderr}");
        String::from_utf8(bash.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("paddle2onnx-rs conv"), "convert");
    assert_eq!(complete("paddle2onnx-rs convert --deq"), "--dequantize");
    assert_eq!(complete("paddle2onnx-rs zoo mer"), "merge");
}

#[test]
fn the_manual() {
    let folder = folder();
    let page = paddle2onnx("man", folder.path());
    assert_eq!((page.code, page.stderr.as_str()), (Some(0), ""), "{page}");
    assert!(page.stdout.contains(".TH paddle2onnx-rs 1"), "{page}");
    let ran = paddle2onnx("man DIR/man1", folder.path());
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(0), "", ""),
        "{ran}"
    );
    let pages = names_in(&folder.path().join("man1"));
    for name in [
        "paddle2onnx-rs.1",
        "paddle2onnx-rs-convert.1",
        "paddle2onnx-rs-zoo-run.1",
    ] {
        assert!(pages.iter().any(|page| page == name), "{name}: {pages:?}");
    }
    let convert = fs::read_to_string(folder.path().join("man1/paddle2onnx-rs-convert.1")).unwrap();
    for words in ["\\-\\-dequantize", "\\-\\-recursive", "Examples:"] {
        assert!(convert.contains(words), "{words}: {convert}");
    }
    let ran = paddle2onnx("man /dev/null/x", folder.path());
    assert!(
        ran.code == Some(2) && ran.stderr.contains("/dev/null/x: could not write"),
        "{ran}"
    );
}
