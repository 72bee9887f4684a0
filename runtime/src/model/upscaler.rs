//! An upscaler from its file: a picture of twice or four times the size, tile by tile, so that memory does not grow with the
//! picture.
//!
//! ```no_run
//! use nijimi_runtime::{Error, gguf, model::{Device, Picture, Upscaler}};
//!
//! fn enlarge(bytes: &[u8], picture: &[f32], size: [usize; 2]) -> Result<Picture, Error> {
//!     let upscaler = Upscaler::load(&gguf::File::new_checked(bytes)?, &Device::Cpu)?;
//!     let mut run = upscaler.run(upscaler.request(picture, size))?;
//!     while let Some(tiles) = run.step()? {
//!         eprintln!("{tiles} of {}", run.len());
//!     }
//!     run.finish()
//! }
//! ```

use super::device::Device;
use super::info::{begin, kind, titles};
use super::loaded::Loaded;
use super::network::{Evaluator, Network};
use super::options::in_range;
use super::unet_keys::{n, size};
use super::wait::wait;
use super::{Picture, RequestError, SessionOptions, is_of_one_color};
use crate::Error;
use crate::gguf::{File, Writer};
use crate::nn::RrdbNet;
use crate::plan::PlanError;
use crate::quant::DType;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// An upscaler's description, from the file's metadata (`docs/format.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpscalerInfo {
    /// `general.name`, or empty.
    pub name: String,
    /// `general.license`, or empty.
    pub license: String,
    /// The network.
    pub network: RrdbNet,
}

const KEYS: [(&str, &str); 2] = [("nijimi.system", "upscaler"), ("nijimi.network", "rrdb-net")];

/// Of the tensors' names.
const PREFIX: &str = "upscaler.";

/// The most pixels of an upscaled side, as PNG readers and textures have it.
const MAX_SIDE: usize = 65536;

impl UpscalerInfo {
    pub(super) fn read(file: &File<'_>) -> Result<Self, Error> {
        kind(file, &KEYS)?;
        let network = RrdbNet {
            channels: size(file, "nijimi.upscaler.channels")?,
            features: size(file, "nijimi.upscaler.features")?,
            growth: size(file, "nijimi.upscaler.growth")?,
            blocks: size(file, "nijimi.upscaler.blocks")?,
            doublings: size(file, "nijimi.upscaler.doublings")?,
            unshuffle: size(file, "nijimi.upscaler.unshuffle")?,
        };
        network.validate()?;
        let [name, license] = titles(file);
        Ok(Self { name, license, network })
    }

    /// Writes all metadata of an upscaler's file, most of whose weights are `dtype`.
    ///
    /// # Errors
    /// A configuration that is no network; keys that were written already.
    pub fn write(&self, w: &mut Writer, dtype: DType) -> Result<(), Error> {
        let network = &self.network;
        network.validate()?;
        begin(w, [&self.name, &self.license], dtype, &KEYS)?;
        w.meta("nijimi.upscaler.channels", n(network.channels))?;
        w.meta("nijimi.upscaler.features", n(network.features))?;
        w.meta("nijimi.upscaler.growth", n(network.growth))?;
        w.meta("nijimi.upscaler.blocks", n(network.blocks))?;
        w.meta("nijimi.upscaler.doublings", n(network.doublings))?;
        Ok(w.meta("nijimi.upscaler.unshuffle", n(network.unshuffle))?)
    }
}

/// A loaded upscaler.
pub type Upscaler = Loaded<UpscalerInfo>;

/// What is to be enlarged, and how it is cut: from [`Upscaler::request`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct UpscaleRequest<'a> {
    /// In [0, 1], `(height, width, channels)`.
    pub picture: &'a [f32],
    /// Its height and width.
    pub size: [usize; 2],
    /// Side of a tile, its edges counted: at least four times `overlap`, and 16. Memory grows with its square.
    pub tile: usize,
    /// How far a tile reaches beyond what is kept of it, in pixels. From [`RrdbNet::reach`] on, a picture in tiles is
    /// the whole one's; below, pixels near the edges of tiles differ a little.
    pub overlap: usize,
    /// Threads, the memory limit, and how a device is used.
    pub options: SessionOptions,
}

impl Upscaler {
    /// Loads a file whose `nijimi.system` is `upscaler`.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type or unknown to this version; tensors that are missing, too many, or of
    /// another shape than the network's.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        let info = UpscalerInfo::read(file)?;
        let network = Network::load_part(file, &[""], info.network.graph(PREFIX, 1, [1, 1])?, &[], device)?;
        Ok(Self::new(info, network))
    }

    /// How many times the side of a picture the side of the upscaled one is.
    pub fn factor(&self) -> usize {
        self.info().network.factor()
    }

    /// A picture, `(height, width, channels)` in [0, 1], in tiles of 160 pixels that overlap as those of Real-ESRGAN do.
    pub fn request<'a>(&self, picture: &'a [f32], size: [usize; 2]) -> UpscaleRequest<'a> {
        UpscaleRequest { picture, size, tile: 160, overlap: 10, options: SessionOptions::default() }
    }

    /// The network by itself: evaluates graph 0 from [`RrdbNet::PICTURE`], of this height and width, to [`RrdbNet::UPSCALED`].
    ///
    /// # Errors
    /// A size of nothing, or more memory than the options allow.
    pub fn evaluator(&self, size: [usize; 2], options: &SessionOptions) -> Result<Evaluator, Error> {
        self.networks().evaluator(vec![self.info().network.graph(PREFIX, 1, size)?], options)
    }

    /// Begins to enlarge a picture. It has memory of its own, so that it may be kept, and dropped at any step.
    ///
    /// # Errors
    /// A picture of another size than is said, or of none; a tile too small for its overlap; an upscaled side above 65536;
    /// more memory than the options allow.
    pub fn run<'a>(&self, request: UpscaleRequest<'a>) -> Result<Upscaling<'a>, Error> {
        let UpscaleRequest { picture, size, tile, overlap, options } = request;
        let network = self.info().network.clone();
        let (u, factor) = (network.unshuffle, network.factor());
        in_range("height", size[0], 1, MAX_SIDE / factor.max(1))?;
        in_range("width", size[1], 1, MAX_SIDE / factor.max(1))?;
        let values = size[0] * size[1] * network.channels;
        in_range("values of the picture", picture.len(), values, values)?;
        in_range("overlap", overlap, 0, 4096)?;
        in_range("tile", tile, (4 * overlap).max(16), 16384)?;
        // Counted in what the network takes as one pixel.
        let (tile, overlap) = (tile.div_ceil(u), overlap.div_ceil(u));
        let windows = size.map(|side| windows(side.div_ceil(u), tile, overlap));
        let side = size.map(|side| side.div_ceil(u).min(tile));
        let evaluator = self.evaluator(side, &options)?;
        let upscaled = values * factor * factor;
        let needed = (evaluator.bytes() + upscaled) as u64;
        if let Some(allowed) = options.memory_limit.filter(|&limit| needed > limit) {
            return Err(PlanError::Memory { needed, allowed }.into());
        }
        let bytes = vec![0; upscaled];
        Ok(Upscaling { network, picture, size, side, windows, next: 0, evaluator, bytes })
    }
}

/// A stretch of a side that is evaluated: where it begins, and what is kept of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Window {
    at: usize,
    kept: [usize; 2],
}

/// Windows of `tile`, all as long as another, that cover a side: the last one ends where the side does.
fn windows(side: usize, tile: usize, overlap: usize) -> Vec<Window> {
    if side <= tile {
        return vec![Window { at: 0, kept: [0, side] }];
    }
    let step = (tile - 2 * overlap).max(1);
    let count = 1 + (side - tile).div_ceil(step);
    let window = |i: usize| {
        let at = (i * step).min(side - tile);
        let first = if i == 0 { 0 } else { at + overlap };
        Window { at, kept: [first, if i + 1 == count { side } else { at + tile - overlap }] }
    };
    (0..count).map(window).collect()
}

/// A picture that grows, tile by tile: from [`Upscaler::run`].
pub struct Upscaling<'a> {
    network: RrdbNet,
    picture: &'a [f32],
    size: [usize; 2],
    /// Height and width of a tile, in what the network takes as one pixel, as are the windows of both sides.
    side: [usize; 2],
    windows: [Vec<Window>; 2],
    next: usize,
    evaluator: Evaluator,
    bytes: Vec<u8>,
}

impl Upscaling<'_> {
    /// How many tiles there are.
    pub fn len(&self) -> usize {
        self.windows[0].len() * self.windows[1].len()
    }

    /// Never: there is at least one tile.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Height and width of the upscaled picture.
    pub fn size(&self) -> [usize; 2] {
        self.size.map(|side| side * self.network.factor())
    }

    /// Bytes of memory, weights not counted.
    pub fn bytes(&self) -> usize {
        self.evaluator.bytes() + self.bytes.len()
    }

    /// Makes the next tile: how many are made then; `None` when all are.
    ///
    /// # Errors
    /// A NaN or an infinity, with the first operation that made it; a device error.
    pub fn step(&mut self) -> Result<Option<usize>, Error> {
        wait(self.step_async())
    }

    /// [`Self::step`], awaited.
    ///
    /// # Errors
    /// As [`Self::step`] has.
    pub async fn step_async(&mut self) -> Result<Option<usize>, Error> {
        if self.next == self.len() {
            return Ok(None);
        }
        let across = self.windows[1].len();
        let at = [self.windows[0][self.next / across], self.windows[1][self.next % across]];
        let input = self.cut(at.map(|window| window.at));
        self.evaluator.evaluate_async(0, &[(RrdbNet::PICTURE, &input)], &[]).await?;
        let tile = self.evaluator.output(RrdbNet::UPSCALED)?;
        let (c, u, factor) = (self.network.channels, self.network.unshuffle, self.network.factor());
        // From the network's pixels to those of the upscaled picture, which ends where the picture does.
        let doubled = u * factor;
        let [height, width] = self.size.map(|side| side * factor);
        let [rows, columns] = at.map(|window| window.kept.map(|place| place * doubled));
        let [top, left] = at.map(|window| window.at * doubled);
        let columns = [columns[0], columns[1].min(width)];
        for y in rows[0]..rows[1].min(height) {
            let from = &tile[((y - top) * self.side[1] * doubled + columns[0] - left) * c..];
            let to = &mut self.bytes[(y * width + columns[0]) * c..(y * width + columns[1]) * c];
            super::latent::write_u8(&from[..to.len()], to);
        }
        self.next += 1;
        Ok(Some(self.next))
    }

    /// The tile at a place, as the network takes it. Where squares of pixels go beyond the picture, it is mirrored.
    fn cut(&self, at: [usize; 2]) -> Vec<f32> {
        let (c, u) = (self.network.channels, self.network.unshuffle);
        let mirror = |i: usize, side: usize| if i < side { i } else { (2 * side - 2).saturating_sub(i) };
        let [rows, columns] = [0, 1].map(|d| at[d] * u..(at[d] + self.side[d]) * u);
        let width = columns.len();
        let pixels = rows.flat_map(|y| columns.clone().map(move |x| (y, x)));
        let pixels = pixels.flat_map(|(y, x)| {
            let start = (mirror(y, self.size[0]) * self.size[1] + mirror(x, self.size[1])) * c;
            &self.picture[start..start + c]
        });
        let pixels: Vec<f32> = pixels.copied().collect();
        self.network.unshuffled(&pixels, width)
    }

    /// The upscaled picture: each value rounded to a byte.
    ///
    /// # Errors
    /// Tiles that are yet to be made; and, where the picture is of one color and what it is made from is not, because an
    /// operation of the network makes the same number of everything, which one: the weights are damaged.
    pub fn finish(self) -> Result<Picture, Error> {
        wait(self.finish_async())
    }

    /// [`Self::finish`], awaited.
    ///
    /// # Errors
    /// As [`Self::finish`] has.
    pub async fn finish_async(mut self) -> Result<Picture, Error> {
        if self.next < self.len() {
            let (found, expected) = (format!("{}", self.next), format!("{}: call step until it is None", self.len()));
            return Err(RequestError::Range { what: "number of tiles made", found, expected }.into());
        }
        let c = self.network.channels;
        if is_of_one_color(&self.bytes, c) && !is_of_one_color(self.picture, c) {
            self.evaluator.check_constant_async(0).await?;
        }
        let [height, width] = self.size();
        Ok(Picture { width, height, channels: c, bytes: self.bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::{Window, windows};

    /// Seen red with windows one `overlap` too far apart, with the last one beginning where the step says, and with a pixel more
    /// kept at the end.
    #[test]
    fn windows_cover_a_side() {
        assert_eq!(windows(10, 16, 2), [Window { at: 0, kept: [0, 10] }]);
        for side in 1..90 {
            for (tile, overlap) in [(16, 2), (16, 0), (17, 4), (8, 2)] {
                let all = windows(side, tile, overlap);
                let mut covered = 0;
                for (i, window) in all.iter().enumerate() {
                    assert!(window.at + tile.min(side) <= side);
                    assert!(window.kept[0] <= covered && covered < window.kept[1], "{side} {tile} {overlap}: {all:?}");
                    // What is kept is as far from an edge of the tile that is none of the picture as the overlap says.
                    assert!(i == 0 || window.kept[0] >= window.at + overlap);
                    assert!(window.kept[1] == side || window.kept[1] + overlap <= window.at + tile);
                    covered = window.kept[1];
                }
                assert_eq!(covered, side);
            }
        }
    }
}
