//! That the header says of functions, structs and numbers what the library has.

use crate::border::{Grows, In, Out, Place, Room, Text, Values};
use crate::context::{self, Context, DeviceInfo};
use crate::fault::{DONE, Fail, OK};
use crate::model::{self, Model, ModelInfo, ModelOptions, Plan};
use crate::options::DrawOptions;
use crate::run::{self, Run, RunInfo, StepInfo};
use std::ffi::{c_char, c_int};
use std::fmt::Write as _;
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::Command;

const HEADER: &str = include_str!("../include/nijimi.h");

/// A type's name in C.
trait InC {
    fn in_c() -> String;
}

macro_rules! in_c {
    ($($type:ty => $name:expr;)*) => {$(impl InC for $type { fn in_c() -> String { $name.into() } })*};
}

in_c! {
    () => "void";
    u8 => "uint8_t";
    u64 => "uint64_t";
    f64 => "double";
    usize => "size_t";
    c_int => "int";
    Text => "const char *";
    *const c_char => "const char *";
    Room => "uint8_t *";
    Context => "nijimi_context";
    Model => "nijimi_model";
    Run => "nijimi_run";
    Option<Box<Context>> => "nijimi_context *";
    Option<Box<Model>> => "nijimi_model *";
    Option<Box<Run>> => "nijimi_run *";
    // It has its lock within, and its list.
    Option<&Context> => "nijimi_context *";
    Option<&Model> => "const nijimi_model *";
    Option<&Run> => "nijimi_run *";
    Option<&mut MaybeUninit<usize>> => "size_t *";
    Place<'_, Context> => "nijimi_context **";
    Place<'_, Model> => "nijimi_model **";
    Place<'_, Run> => "nijimi_run **";
    Values<u8> => "const uint8_t *";
    Values<f64> => "const double *";
    Values<usize> => "const size_t *";
    Values<Values<u8>> => "const uint8_t *const *";
    Values<Text> => "const char *const *";
}

impl<T: Grows> InC for In<T> {
    fn in_c() -> String {
        format!("const {} *", T::NAME)
    }
}

impl<T: Grows> InC for Out<T> {
    fn in_c() -> String {
        format!("{} *", T::NAME)
    }
}

/// A function's type, as C has it.
trait Prototype {
    fn in_c(&self, name: &str) -> String;
}

macro_rules! prototype {
    ($($argument:ident)*) => {
        impl<$($argument: InC,)* R: InC> Prototype for extern "C" fn($($argument),*) -> R {
            fn in_c(&self, name: &str) -> String {
                let arguments: &[String] = &[$($argument::in_c()),*];
                let arguments = if arguments.is_empty() { "void".into() } else { arguments.join(",") };
                squeezed(&format!("{} {name}({arguments})", R::in_c()))
            }
        }
    };
}

prototype!();
prototype!(A);
prototype!(A B);
prototype!(A B C);
prototype!(A B C D);
prototype!(A B C D E);

/// Without spaces, but where they part words.
fn squeezed(text: &str) -> String {
    let mut out = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for mark in ["*", "(", ")", ",", ";"] {
        for spaced in [format!(" {mark}"), format!("{mark} ")] {
            while out.contains(&spaced) {
                out = out.replace(&spaced, mark);
            }
        }
    }
    out
}

fn functions() -> Vec<(&'static str, String)> {
    macro_rules! all {
        ($($module:ident::$name:ident($($hole:tt),*) -> $result:ty;)*) => {
            vec![$((stringify!($name), ($module::$name as extern "C" fn($($hole),*) -> $result).in_c(stringify!($name)))),*]
        };
    }
    all! {
        context::nijimi_version() -> _;
        context::nijimi_context_new(_) -> _;
        context::nijimi_context_free(_) -> _;
        context::nijimi_last_error(_) -> _;
        context::nijimi_device_count(_, _) -> _;
        context::nijimi_device(_, _, _) -> _;
        model::nijimi_model_options_init(_, _) -> _;
        model::nijimi_model_open(_, _, _, _) -> _;
        model::nijimi_model_open_bytes(_, _, _, _, _) -> _;
        model::nijimi_model_free(_) -> _;
        model::nijimi_model_describe(_, _, _) -> _;
        model::nijimi_model_label(_, _) -> _;
        model::nijimi_draw_options_init(_, _, _) -> _;
        model::nijimi_plan_run(_, _, _, _, _) -> _;
        run::nijimi_run_begin(_, _, _, _, _) -> _;
        run::nijimi_run_describe(_, _) -> _;
        run::nijimi_step(_, _) -> _;
        run::nijimi_preview(_, _, _) -> _;
        run::nijimi_pictures(_, _, _) -> _;
        run::nijimi_run_free(_) -> _;
    }
}

/// The header's declarations of functions: names of arguments left out.
fn declared() -> Vec<String> {
    let mut code = String::new();
    let mut rest = HEADER;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").unwrap().1;
    }
    code.push_str(rest);
    let lines: Vec<&str> = code.lines().filter(|line| !line.starts_with('#')).collect();
    let functions = lines.join(" ");
    let functions = functions.split(';').map(str::trim).filter(|text| text.ends_with(')') && text.contains("nijimi_"));
    let nameless = |text: &str| {
        let (head, arguments) = text.trim_end_matches(')').split_once('(').unwrap();
        let argument = |text: &str| match text.trim() {
            "void" => "void".to_string(),
            text => text.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').to_string(),
        };
        let arguments: Vec<String> = arguments.split(',').map(argument).collect();
        squeezed(&format!("{head}({})", arguments.join(",")))
    };
    functions.map(|text| nameless(text.trim_start_matches("extern \"C\" {").trim())).collect()
}

/// Names, arguments and results. Seen red with a `const` in the header that the function does not have.
#[test]
fn every_function_is_declared_as_it_is() {
    let (mut own, mut declared) = (functions().into_iter().map(|f| f.1).collect::<Vec<_>>(), declared());
    own.sort();
    declared.sort();
    assert_eq!(own, declared);
    let sources = [include_str!("context.rs"), include_str!("model.rs"), include_str!("run.rs")];
    let exported = sources.iter().map(|source| source.matches("#[unsafe(no_mangle)]").count()).sum::<usize>();
    assert_eq!(exported, own.len(), "functions that the list of this file lacks");
}

/// `unsafe` is for the names of functions, and else in one file. Seen red with the word once more in run.rs.
#[test]
fn unsafe_code_is_in_one_file() {
    for source in [include_str!("context.rs"), include_str!("model.rs"), include_str!("run.rs")] {
        assert_eq!(
            source.matches("unsafe").count() - source.matches("unsafe(no_mangle)").count(),
            1,
            "but for the allow"
        );
    }
}

/// Sizes, offsets and numbers, as a C compiler has them: it refuses an array of a negative length. Seen red with a field more in the
/// header, with two fields exchanged there, and with NIJIMI_FILE 5.
#[test]
fn every_struct_is_laid_out_as_it_is() {
    let mut code = String::from("#include \"nijimi.h\"\n#include <stdint.h>\n");
    let mut n = 0;
    let mut check = |what: String| {
        n += 1;
        let _ = writeln!(code, "typedef char check_{n}[({what}) ? 1 : -1];");
    };
    fn of<T: Grows>(check: &mut impl FnMut(String)) {
        let name = T::NAME;
        check(format!("sizeof({name}) == {}", size_of::<T>()));
        check(format!("offsetof({name}, size) == 0"));
        for (field, from, to) in T::FIELDS {
            check(format!("offsetof({name}, {field}) == {from}"));
            check(format!("sizeof((({name} *)0)->{field}) == {}", to - from));
        }
        // Whatever is added later then begins where an older struct ends.
        assert_eq!(size_of::<T>(), T::FIELDS.last().unwrap().2, "{name} ends with a hole");
    }
    of::<DeviceInfo>(&mut check);
    of::<ModelOptions>(&mut check);
    of::<ModelInfo>(&mut check);
    of::<DrawOptions>(&mut check);
    of::<Plan>(&mut check);
    of::<RunInfo>(&mut check);
    of::<StepInfo>(&mut check);
    assert_eq!(HEADER.matches("    size_t size;\n").count(), 7, "structs of the header, all of them above");
    for (name, number) in [
        ("DONE", DONE),
        ("OK", OK),
        ("INTERNAL", Fail::Internal as c_int),
        ("USAGE", Fail::Usage as c_int),
        ("FILE", Fail::File as c_int),
        ("DEVICE", Fail::Device as c_int),
    ] {
        check(format!("NIJIMI_{name} == {number}"));
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = std::env::temp_dir().join(format!("nijimi-header-{}.c", std::process::id()));
    std::fs::write(&file, code).unwrap();
    let flags: [(&str, &[&str]); 2] =
        [("cc", &["-std=c99", "-pedantic"]), ("c++", &["-x", "c++", "-Wno-unused-local-typedefs"])];
    for (compiler, flags) in flags {
        let mut command = Command::new(compiler);
        command.args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror"]).args(flags);
        match command.arg("-I").arg(here.join("include")).arg(&file).output() {
            Err(_) => eprintln!("not checked: no {compiler}"),
            Ok(said) => assert!(said.status.success(), "{compiler}: {}", String::from_utf8_lossy(&said.stderr)),
        }
    }
    std::fs::remove_file(&file).unwrap();
}
