//! Tiles chosen by measurement (`lab/measure.rs`), where that was asked for: kept for each adapter and driver, and used from
//! then on.

use super::{GpuError, Storage, cache};
use crate::quant::DType;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use nijimi_shaders::table::{self, Machine, Product, Tile};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Begins the file, before the sum of the rest; a change of the shaders or of the form changes it.
const HEADER: &str = concat!("nijimi tiles 2 ", env!("CARGO_PKG_VERSION"), " ");

/// No measurements are so long.
const MAX_BYTES: u64 = 1 << 20;

/// What was measured.
#[derive(Default)]
pub(super) struct Choices {
    /// By [`Question::key`].
    tiles: Mutex<BTreeMap<String, Tile>>,
    file: Option<PathBuf>,
    /// Measure what is not known yet.
    pub wanted: bool,
}

/// A product that wants a tile.
#[derive(Clone, Copy)]
pub(super) struct Question {
    pub conv: bool,
    pub dtype: DType,
    pub storage: Storage,
    pub product: Product,
}

impl Question {
    fn key(&self) -> String {
        let Product { rows, n, k, gated, halves } = self.product;
        let kind = if self.conv { "conv2d" } else { "linear" };
        format!("{kind} {} {:?} {rows} {n} {k} {gated} {halves}", self.dtype.name(), self.storage)
    }
}

impl Choices {
    /// Those of the file, if it is one.
    pub fn open(file: Option<PathBuf>, wanted: bool) -> Self {
        let bytes = file.as_ref().and_then(|file| cache::read(file, MAX_BYTES)).unwrap_or_default();
        Self { tiles: Mutex::new(read(&String::from_utf8_lossy(&bytes))), file, wanted }
    }

    /// The tile that was measured, if it is one that this machine can use: a file is believed no further.
    pub fn get(&self, question: &Question, machine: Machine) -> Option<Tile> {
        let tile = self.tiles.lock().unwrap_or_else(|e| e.into_inner()).get(&question.key()).copied()?;
        table::candidates(machine, question.product).contains(&tile).then_some(tile)
    }

    pub fn insert(&self, question: &Question, tile: Tile) {
        self.tiles.lock().unwrap_or_else(|e| e.into_inner()).insert(question.key(), tile);
    }

    pub fn store(&self) -> Result<(), GpuError> {
        let Some(file) = &self.file else { return Ok(()) };
        let text = write(&self.tiles.lock().unwrap_or_else(|e| e.into_inner()));
        let wrong = |reason: String| GpuError::Cache { path: file.display().to_string(), reason };
        std::fs::create_dir_all(file.parent().unwrap_or(Path::new("."))).map_err(|e| wrong(e.to_string()))?;
        crate::gguf::write_atomic(file, text.as_bytes()).map_err(|e| wrong(e.to_string()))
    }
}

/// A line for each: the question, and the tile's numbers.
fn write(tiles: &BTreeMap<String, Tile>) -> String {
    let line = |(key, tile): (&String, &Tile)| {
        let numbers: Vec<String> = tile.numbers().iter().map(u32::to_string).collect();
        format!("{key}: {}\n", numbers.join(" "))
    };
    let lines: String = tiles.iter().map(line).collect();
    format!("{HEADER}{:016x}\n{lines}", cache::fnv(lines.as_bytes()))
}

/// Nothing of a file of another version, or of one that is damaged.
pub(super) fn read(text: &str) -> BTreeMap<String, Tile> {
    let Some((sum, lines)) = text.strip_prefix(HEADER).and_then(|rest| rest.split_once('\n')) else {
        return BTreeMap::new();
    };
    if sum != format!("{:016x}", cache::fnv(lines.as_bytes())) {
        return BTreeMap::new();
    }
    let line = |line: &str| {
        let (key, numbers) = line.split_once(": ")?;
        let numbers: Vec<u32> = numbers.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        Some((key.to_string(), Tile::from_numbers(numbers.try_into().ok()?)?))
    };
    lines.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nijimi_shaders::table::Coop;

    #[test]
    fn the_file_keeps_what_was_measured() {
        let coop = Coop { size: 16, subgroup: 32 };
        let tiles: BTreeMap<String, Tile> = [
            ("linear f32 F32 1 2 3 false false", Tile::direct(16, 8, 4)),
            ("conv2d q8_0 F16 4 5 6 false true", Tile::coop(coop, 2, 2, 4, 4, 8)),
            ("linear f16 F32 7 8 9 true true", Tile::tiled(16, 16, 4, 4, 4)),
        ]
        .into_iter()
        .map(|(key, tile)| (key.to_string(), tile))
        .collect();
        let text = write(&tiles);
        assert_eq!(read(&text), tiles);
        assert_eq!(read(&text.replace("nijimi tiles 2", "nijimi tiles 1")).len(), 0);
        for cut in 0..text.len() {
            assert_eq!(read(&text[..cut]).len(), 0);
        }
        for i in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[i] ^= 1;
            assert_eq!(read(&String::from_utf8_lossy(&bytes)).len(), 0, "byte {i}");
        }
    }

    /// Seen red with whatever the file says.
    #[test]
    fn only_what_a_machine_can_use_is_taken() {
        let machine = Machine::of(table::Class::Cpu);
        let product = Product { rows: 64, n: 64, k: 64, gated: false, halves: false };
        let question = Question { conv: false, dtype: DType::F32, storage: Storage::F32, product };
        let choices = Choices::default();
        for tile in [Tile::direct(0, 0, 0), Tile::direct(1024, 1024, 4), Tile::tiled(3, 5, 7, 9, 11)] {
            choices.insert(&question, tile);
            assert_eq!(choices.get(&question, machine), None);
        }
        for tile in table::candidates(machine, product) {
            choices.insert(&question, tile);
            assert_eq!(choices.get(&question, machine), Some(tile));
        }
    }
}
