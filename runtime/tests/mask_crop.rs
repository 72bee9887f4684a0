//! Repainting at a size of its own: what is cut out, and what is put back.

use nijimi_runtime::model::MaskCrop;

/// A mask of `whole` with a rectangle from `first` to `last`.
fn mask([height, width]: [usize; 2], first: [usize; 2], last: [usize; 2]) -> Vec<f32> {
    let inside = |y: usize, x: usize| (first[0]..last[0]).contains(&y) && (first[1]..last[1]).contains(&x);
    (0..height * width).map(|i| if inside(i / width, i % width) { 1.0 } else { 0.0 }).collect()
}

/// The regions that the web UI's `get_crop_region` and `expand_crop_region` give. Seen red with padding on one side alone,
/// with the wider of the sides growing, and with a part that leaves the picture.
#[test]
fn the_part_around_a_mask() {
    let part = |first, last, padding, drawn| {
        let whole = [100, 80];
        MaskCrop::new(&mask(whole, first, last), whole, padding, drawn).unwrap().part()
    };
    // Square around the middle, with the rest of an odd number after it.
    assert_eq!(part([40, 30], [50, 50], 5, [64, 64]), ([30, 25], [30, 30]));
    assert_eq!(part([40, 30], [50, 50], 0, [64, 128]), ([40, 30], [10, 20]));
    // At an edge it moves inwards, and is no wider than the picture.
    assert_eq!(part([0, 0], [10, 30], 4, [64, 64]), ([0, 0], [34, 34]));
    assert_eq!(part([90, 70], [100, 80], 4, [64, 64]), ([86, 66], [14, 14]));
    assert_eq!(part([60, 70], [100, 80], 0, [64, 64]), ([60, 40], [40, 40]));
    assert_eq!(part([0, 10], [100, 20], 0, [64, 64]), ([0, 0], [100, 80]));
    let all = MaskCrop::new(&mask([4, 4], [0, 0], [0, 0]), [4, 4], 1, [8, 8]).unwrap_err();
    assert!(all.to_string().contains("what the mask selects is nothing"));
}

/// Seen red with all of the part pasted, with its rows as long as the whole's, and with those of the whole a pixel shorter.
#[test]
fn what_is_not_masked_stays() {
    let whole = [20, 24];
    let mask = mask(whole, [5, 6], [9, 14]);
    let crop = MaskCrop::new(&mask, whole, 2, [32, 32]).unwrap();
    let picture: Vec<u8> = (0..20 * 24 * 3).map(|i| (i * 7 % 256) as u8).collect();
    let values: Vec<f32> = picture.iter().map(|&v| f32::from(v) / 255.0).collect();
    let part = crop.picture(&values).unwrap();
    assert_eq!((part.len(), crop.mask(&mask).unwrap().len()), (32 * 32 * 3, 32 * 32));
    let mut out = picture.clone();
    crop.paste(&[200; 32 * 32 * 3], &mask, &mut out).unwrap();
    for (i, (out, old)) in out.chunks(3).zip(picture.chunks(3)).enumerate() {
        assert_eq!(out, if mask[i] == 1.0 { &[200; 3][..] } else { old }, "{i}");
    }
    // At its own size, what was cut out is put back as it was.
    let own = MaskCrop::new(&mask, whole, 0, [4, 8]).unwrap();
    assert_eq!(own.part(), ([5, 6], [4, 8]));
    let drawn: Vec<u8> = own.picture(&values).unwrap().iter().map(|v| (v * 255.0).round() as u8).collect();
    let mut out = vec![0; picture.len()];
    own.paste(&drawn, &mask, &mut out).unwrap();
    let kept = out.chunks(3).zip(picture.chunks(3)).zip(&mask).all(|((out, old), m)| *m == 0.0 || out == old);
    assert!(kept);
    assert!(crop.picture(&values[1..]).is_err() && crop.paste(&[0; 5], &mask, &mut out).is_err());
}
