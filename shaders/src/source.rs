//! A line preprocessor: `//#include "part.wgsl"`, `//#if FLAG`, `//#if !FLAG`, `//#else`, `//#end`.

use crate::strip::wgsl;
use alloc::string::String;
use alloc::vec::Vec;

const PARTS: &[(&str, &str)] = &[
    ("activation.wgsl", wgsl!("../parts/activation.wgsl")),
    ("affine.wgsl", wgsl!("../parts/affine.wgsl")),
    ("epilogue.wgsl", wgsl!("../parts/epilogue.wgsl")),
    ("grid.wgsl", wgsl!("../parts/grid.wgsl")),
    ("lines.wgsl", wgsl!("../parts/lines.wgsl")),
    ("log_sum_exp.wgsl", wgsl!("../parts/log_sum_exp.wgsl")),
    ("product.wgsl", wgsl!("../parts/product.wgsl")),
    ("product_coop.wgsl", wgsl!("../parts/product_coop.wgsl")),
    ("product_direct.wgsl", wgsl!("../parts/product_direct.wgsl")),
    ("product_tiled.wgsl", wgsl!("../parts/product_tiled.wgsl")),
    ("rows.wgsl", wgsl!("../parts/rows.wgsl")),
    ("step.wgsl", wgsl!("../parts/step.wgsl")),
    ("total.wgsl", wgsl!("../parts/total.wgsl")),
    ("weights.wgsl", wgsl!("../parts/weights.wgsl")),
];

/// Appends `source` to `out`, with what the flags leave of it. A line that is not understood stays, as a comment; the
/// crate's tests see to it that there are none.
pub(crate) fn expand(source: &str, flags: &[&str], out: &mut String) {
    // Whether each open block, outermost first, is kept.
    let mut blocks: Vec<bool> = Vec::new();
    for line in source.lines() {
        let kept = blocks.iter().all(|kept| *kept);
        match Directive::of(line) {
            Some(Directive::If { flag, want }) => blocks.push(flags.contains(&flag) == want),
            Some(Directive::Else) => blocks.iter_mut().last().into_iter().for_each(|kept| *kept = !*kept),
            Some(Directive::End) => drop(blocks.pop()),
            Some(Directive::Include(name)) if kept => {
                PARTS.iter().filter(|(part, _)| *part == name).for_each(|(_, text)| expand(text, flags, out));
            }
            Some(Directive::Include(_)) => {}
            None if kept => {
                *out += line;
                out.push('\n');
            }
            None => {}
        }
    }
}

#[derive(PartialEq, Debug)]
enum Directive<'a> {
    If { flag: &'a str, want: bool },
    Else,
    End,
    Include(&'a str),
}

impl<'a> Directive<'a> {
    fn of(line: &'a str) -> Option<Self> {
        match line.strip_prefix("//#")?.split_once(' ').unwrap_or((line.strip_prefix("//#")?, "")) {
            ("if", flag) => Some(
                flag.strip_prefix('!').map_or(Self::If { flag, want: true }, |flag| Self::If { flag, want: false }),
            ),
            ("else", "") => Some(Self::Else),
            ("end", "") => Some(Self::End),
            ("include", name) => Some(Self::Include(name.strip_prefix('"')?.strip_suffix('"')?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flag, Kernel};

    fn expanded(source: &str, flags: &[&str]) -> String {
        let mut out = String::new();
        expand(source, flags, &mut out);
        out
    }

    // Seen red with `//#else` applied to the outermost block.
    #[test]
    fn blocks_nest() {
        let source = "a\n//#if A\nb\n//#if !B\nc\n//#else\nd\n//#end\n//#else\ne\n//#end\nf";
        assert_eq!(expanded(source, &[]), "a\ne\nf\n");
        assert_eq!(expanded(source, &["A"]), "a\nb\nc\nf\n");
        assert_eq!(expanded(source, &["A", "B"]), "a\nb\nd\nf\n");
        assert_eq!(expanded(source, &["B"]), "a\ne\nf\n");
    }

    /// Every directive of every file is one, names a flag or a part that exists, and every block is closed.
    #[test]
    fn all_files_are_well_formed() {
        let files = PARTS.iter().copied().chain(Kernel::ALL.iter().map(|k| (k.name(), k.source())));
        for (name, source) in files {
            let mut depth = 0;
            for line in source.lines().filter(|line| line.trim_start().starts_with("//#")) {
                match Directive::of(line).unwrap_or_else(|| panic!("{name}: {line}")) {
                    Directive::If { flag, .. } => {
                        assert!(Flag::ALL.iter().any(|f| f.name() == flag), "{name}: no flag {flag}");
                        depth += 1;
                    }
                    Directive::Else => assert!(depth > 0, "{name}: else without if"),
                    Directive::End => depth -= 1,
                    Directive::Include(part) => {
                        assert!(PARTS.iter().any(|(p, _)| *p == part), "{name}: no part {part}")
                    }
                }
            }
            assert_eq!(depth, 0, "{name}: blocks left open");
        }
    }
}
