//! Flags of a letter or a few behind a single dash, as Python's argparse takes them.

use std::ffi::OsString;
use std::path::Path;

/// What else a flag is called. `-b` was a name of `-d` in Paddle2ONNX 0.9.
const SHORT: [(&str, &str); 10] = [
    ("-m", "--model_dir"),
    ("-mf", "--model_filename"),
    ("-pf", "--params_filename"),
    ("-s", "--save_file"),
    ("-ov", "--opset_version"),
    ("-d", "--deploy_backend"),
    ("-b", "--deploy_backend"),
    ("-isd", "--input_shape_dict"),
    ("-on", "--output_names"),
    ("-v", "--version"),
];

/// The arguments of a call in the manner of Paddle2ONNX, as `compat` with the long names of its flags; others as they are.
/// A call is such if the first argument is `compat`, or the program is called `paddle2onnx`.
pub(in crate::cli) fn spelled_out(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let is_drop_in = arguments.first().is_some_and(|name| {
        Path::new(name)
            .file_stem()
            .is_some_and(|stem| stem == "paddle2onnx")
    });
    if is_drop_in {
        if arguments.len() == 1 {
            arguments.push("--help".into());
        }
        arguments.insert(1, "compat".into());
    }
    if arguments.get(1).is_some_and(|first| first == "compat") {
        arguments.iter_mut().skip(2).for_each(spell_out);
    }
    arguments
}

fn spell_out(argument: &mut OsString) {
    let Some(text) = argument.to_str() else {
        return;
    };
    let (flag, value) = match text.split_once('=') {
        Some((flag, value)) => (flag, Some(value)),
        None => (text, None),
    };
    let Some((_, long)) = SHORT.iter().find(|(short, _)| *short == flag) else {
        return;
    };
    *argument = match value {
        Some(value) => format!("{long}={value}"),
        None => (*long).to_owned(),
    }
    .into();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(arguments: &[&str]) -> Vec<OsString> {
        spelled_out(arguments.iter().map(OsString::from))
    }

    #[test]
    fn short_flags_become_long_ones_where_paddle2onnx_is_meant() {
        let long = [
            "paddle2onnx",
            "compat",
            "--model_filename",
            "a",
            "--opset_version=9",
        ];
        assert_eq!(spelled(&["paddle2onnx", "-mf", "a", "-ov=9"]), long);
        assert_eq!(
            spelled(&["/bin/paddle2onnx.exe", "-m"])[1..],
            ["compat", "--model_dir"]
        );
        assert_eq!(
            spelled(&["paddle2onnx-rs", "compat", "-s"])[2],
            "--save_file"
        );
        let other = ["paddle2onnx-rs", "verify", "-v"];
        assert_eq!(spelled(&other), other);
    }

    #[test]
    fn without_arguments_the_help_is_shown() {
        assert_eq!(spelled(&["paddle2onnx"])[1..], ["compat", "--help"]);
        assert_eq!(spelled(&["paddle2onnx-rs"]).len(), 1);
    }
}
