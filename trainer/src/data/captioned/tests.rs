//! Made-up folders of a few pictures, and the emoji where they are.
use super::*;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

/// A folder that is gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nijimi-captioned-{}-{name}", std::process::id()));
        _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("png")).expect("a temporary folder");
        Self(path)
    }
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), bytes).expect("writing a file");
    }
    fn draw(&self, name: &str, image: impl Into<DynamicImage>) {
        let format = if name.ends_with("png") { ImageFormat::Png } else { ImageFormat::Jpeg };
        image.into().save_with_format(self.0.join(name), format).expect("writing a picture");
    }
    fn flat(&self, name: &str, color: [u8; 3]) {
        self.draw(name, RgbImage::from_pixel(4, 4, Rgb(color)));
    }
    fn load(&self, side: usize) -> Captioned {
        Captioned::load(&self.0, side, Captions::Needed).expect("pictures")
    }
    fn refused(&self) -> String {
        Captioned::load(&self.0, 4, Captions::Needed).expect_err("refused").to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The emoji, if the data are on this machine (`NIJIMI_DATA`, or `../shared/data` beside the project).
pub(crate) fn emoji() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let dir = std::env::var_os("NIJIMI_DATA").map_or(beside, PathBuf::from).join("emoji");
    if !dir.is_dir() {
        eprintln!("skipped: {} is not there (NIJIMI_DATA names the folder of data)", dir.display());
        return None;
    }
    Some(dir)
}

#[test]
fn a_table_tells_name_category_and_tags() {
    let folder = Folder::new("table");
    folder.flat("a.png", [1, 2, 3]);
    folder.flat("png/b.png", [4, 5, 6]);
    folder.flat("png/c.png", [7, 8, 9]);
    folder.write(
        "captions.tsv",
        "\u{feff}name\tfile\ttags\tcategory\r\nred apple\tb.png\tfruit, food,fruit,\t?\r\nA\ta.png\r\n",
    );
    let set = folder.load(4);
    assert_eq!((set.side, set.skipped.len(), set.subjects()), (4, 0, 3));
    let told: Vec<_> = set.pictures.iter().map(|p| (&p.file[..], &p.name[..], &p.category[..])).collect();
    assert_eq!(told, [("a.png", "A", ""), ("b.png", "red apple", ""), ("c.png", "", "")]);
    assert_eq!(set.pictures[1].tags, ["fruit", "food"]);
    assert_eq!(set.pictures[1].pixels, [4, 5, 6].repeat(16));
}

/// Seen red with the colours under transparent pixels taken as they are.
#[test]
fn what_is_transparent_lies_over_white() {
    let folder = Folder::new("alpha");
    let column = [[200, 100, 0, 0], [200, 100, 0, 255], [200, 100, 0, 51], [0, 0, 0, 128]];
    folder.draw("a.png", RgbaImage::from_fn(4, 4, |x, _| Rgba(column[x as usize])));
    folder.write("a.txt", "stripes");
    let set = folder.load(4);
    assert_eq!(set.pictures[0].pixels[..12], [255, 255, 255, 200, 100, 0, 244, 224, 204, 127, 127, 127]);
}

/// Seen red with the left upper corner cut out.
#[test]
fn the_middle_is_cut_out_and_resized() {
    let folder = Folder::new("crop");
    let middle = |w: u32, h: u32| {
        RgbImage::from_fn(w, h, |x, y| {
            let (dx, dy) = (2 * x + 1, 2 * y + 1);
            let inside = dx.abs_diff(w) <= w.min(h) && dy.abs_diff(h) <= w.min(h);
            Rgb(if inside { [10, 200, 30] } else { [255, 0, 255] })
        })
    };
    for (name, w, h) in [("wide", 40, 8), ("tall", 8, 40), ("large", 100, 100), ("tiny", 1, 1)] {
        folder.draw(&format!("{name}.png"), middle(w, h));
        folder.write(&format!("{name}.txt"), name);
    }
    let set = folder.load(8);
    assert_eq!(set.pictures.len(), 4, "{:?}", set.skipped);
    assert!(set.pictures.iter().all(|p| p.pixels == [10, 200, 30].repeat(64)));
}

#[test]
fn broken_files_are_listed_with_the_reason() {
    let folder = Folder::new("broken");
    folder.flat("a.png", [9; 3]);
    folder.flat("cut.png", [9; 3]);
    let bytes = std::fs::read(folder.0.join("cut.png")).expect("a file");
    folder.write("cut.png", &bytes[..bytes.len() / 2]);
    folder.write("text.png", "no picture at all");
    folder.write(
        "captions.tsv",
        "file\tname\na.png\tgood\ncut.png\tcut\nnone.png\tnot there\na.png\tagain\ntext.png\ttext\nx\n",
    );
    let set = folder.load(4);
    assert_eq!(set.pictures.len(), 1);
    let told: Vec<_> =
        set.skipped.iter().map(|(p, why)| (p.file_name().unwrap().to_str().unwrap(), &why[..])).collect();
    let expected = [
        ("a.png", "line 5 of captions.tsv: the file has a line already"),
        ("cut.png", "it is a damaged picture"),
        ("none.png", "line 4 of captions.tsv: there is no such"),
        ("text.png", "it is neither a PNG nor a JPEG picture"),
        ("x", "line 7 of captions.tsv: 1 columns where the first line has 2"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (found, expected) in told.iter().zip(expected) {
        assert!(found.0 == expected.0 && found.1.starts_with(expected.1), "{found:?}");
    }
}

#[test]
fn pairs_of_pictures_and_texts() {
    let folder = Folder::new("pairs");
    folder.draw("jpeg.jpg", RgbImage::from_pixel(16, 16, Rgb([120, 120, 120])));
    folder.write("jpeg.txt", "\n  a gray square \nmore about it\n");
    for name in ["alone", "empty", "latin", "UPPER"] {
        folder.flat(&format!("{name}.png"), [9; 3]);
    }
    folder.write("empty.txt", " \n");
    folder.write("latin.txt", b"caf\xe9");
    folder.write("UPPER.txt", "A Gray Square");
    let set = folder.load(8);
    let names: Vec<_> = set.pictures.iter().map(|p| (&p.name[..], p.subject)).collect();
    assert_eq!(names, [("A Gray Square", 0), ("a gray square", 0)]);
    assert!(set.pictures[1].pixels.iter().all(|v| v.abs_diff(120) <= 1));
    let why: Vec<_> = set.skipped.iter().map(|(_, why)| &why[..]).collect();
    assert_eq!(
        why,
        [
            "it has no caption: write one into alone.txt",
            "its caption is empty: write one into empty.txt",
            "its caption, latin.txt, is not UTF-8: save it as UTF-8",
            "a folder: pictures in it are not looked for",
        ]
    );
}

#[test]
fn a_folder_without_pictures_is_refused_with_the_remedy() {
    let folder = Folder::new("nothing");
    assert!(folder.refused().contains("no PNG or JPEG pictures are there: give a folder with captions.tsv"));
    folder.write("a.png", "text");
    folder.write("a.txt", "a text");
    assert!(folder.refused().contains("1 were passed over, the first"));
    folder.write("captions.tsv", "picture\tname\na.png\ta\n");
    assert!(folder.refused().contains("no column \"file\""), "{}", folder.refused());
    folder.write("captions.tsv", "");
    assert!(folder.refused().contains("no column \"file\""));
    folder.write("captions.tsv", b"file\tname\n\xff\n");
    assert!(folder.refused().contains("save it as UTF-8"));
    assert!(Captioned::load(&folder.0.join("none"), 4, Captions::Needed).is_err());
    assert!(Captioned::load(&folder.0, 0, Captions::Needed).unwrap_err().to_string().contains("the side must be 1 to"));
}

/// Seen red with single pictures held out, not subjects.
#[test]
fn whole_subjects_are_held_out() {
    let folder = Folder::new("held-out");
    let mut table = "file\tname\n".to_owned();
    for subject in 0..20 {
        for (tone, word) in [("", ""), ("_1f3fb", ": light skin tone"), ("_1f3fd_1f3fc", ", dark skin tone")] {
            let file = format!("u{subject}{tone}.png");
            folder.flat(&file, [subject; 3]);
            table += &format!("{file}\tsubject {subject}{word}\n");
        }
    }
    folder.flat("u3_1f3ff.png", [3; 3]);
    folder.write("captions.tsv", table);
    let set = folder.load(4);
    assert_eq!((set.pictures.len(), set.subjects()), (61, 20));
    let (train, held) = set.hold_out(10, 1);
    assert!((10..=13).contains(&held.len()), "{}", held.len());
    let mut all = [train.clone(), held.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..61).collect::<Vec<_>>());
    let subject = |i: &u32| set.pictures[*i as usize].subject;
    assert!(held.iter().all(|h| train.iter().all(|t| subject(t) != subject(h))));
    assert!(
        set.pictures
            .iter()
            .all(|p| { set.pictures.iter().all(|q| (p.pixels[0] == q.pixels[0]) == (p.subject == q.subject)) })
    );
    assert_eq!(set.hold_out(10, 1), (train, held.clone()));
    assert_ne!(set.hold_out(10, 2).1, held);
    assert_eq!((set.hold_out(0, 1).1.len(), set.hold_out(1000, 1).1.len()), (0, 61));
}

#[test]
fn the_emoji_are_read() {
    let Some(dir) = emoji() else { return };
    let set = Captioned::load(&dir, 64, Captions::Needed).expect("pictures");
    assert_eq!(set.pictures.len(), 3576);
    assert!(set.skipped.iter().all(|(_, why)| why.starts_with("a file of another type")), "{:?}", set.skipped);
    let named: Vec<_> = set.pictures.iter().filter(|p| !p.name.is_empty()).collect();
    let subjects: std::collections::BTreeSet<u32> = named.iter().map(|p| p.subject).collect();
    assert_eq!((named.len(), subjects.len()), (3407, 1637));
    // Every picture is drawn on white, and none is blank.
    let dark = |p: &&Picture| p.pixels.iter().any(|v| *v < 250);
    assert!(set.pictures.iter().filter(|p| !dark(p)).count() <= 2);
}

/// Seen red with the proportion turned round, and with the middle not cut out.
#[test]
fn pictures_are_brought_to_sizes_of_their_own_proportion() {
    let cut = Cut::Like { side: 512, step: 64 };
    let sizes = [[600, 600], [600, 800], [800, 600], [100, 1000], [1080, 1920], [3, 2]].map(|size| cut.size(size));
    assert_eq!(sizes, [[512, 512], [448, 576], [576, 448], [256, 1024], [384, 640], [640, 384]]);
    for [h, w] in sizes {
        assert!(h % 64 == 0 && w % 64 == 0 && h * w <= 512 * 512, "{h}x{w}");
    }
    let folder = Folder::new("buckets");
    // Red with a green middle, as wide as high.
    let of = |x: u32, _| Rgb(if (16..48).contains(&x) { [0, 200, 0] } else { [200, 0, 0] });
    folder.draw("a.png", RgbImage::from_fn(64, 32, of));
    folder.write("a.txt", "stripes");
    let load = |cut| Captioned::load_cut(&folder.0, cut, Captions::Needed).expect("pictures").pictures.remove(0);
    let (square, wide) = (load(Cut::Square(16)), load(Cut::Like { side: 16, step: 2 }));
    assert_eq!((square.size, wide.size), ([16, 16], [10, 24]));
    assert!(square.pixels.chunks_exact(3).all(|p| p == [0, 200, 0]));
    assert_eq!((&wide.pixels[..3], &wide.pixels[3 * 12..][..3]), (&[200, 0, 0][..], &[0, 200, 0][..]));
}
