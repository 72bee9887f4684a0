use super::*;
use crate::plot::Chart;

/// A folder that is gone when the test is over.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("nijimi-report-{}-{name}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Seen red with `<` not escaped, and with differences wrong.
#[test]
fn a_report_is_a_page_a_record_and_its_figures() {
    let folder = Folder::new("whole");
    let mut report = Report::new("Normal & <others>");
    report.heading("Fit");
    report.text("p < 0.05 && \"so\"");
    report.table(
        "Numbers",
        [
            Comparison::new("mean", 172.5).reference(172.5).key(),
            Comparison::new("spread", 4.0).notebook(5.0).within(0.1),
            Comparison::new("alone", f64::NAN),
        ],
    );
    report.columns("Steps", ["t", "beta"], [vec!["1".into(), number(1e-4)]]);
    report.figure("curve", "a 'curve'", &Chart::new("").line([(0.0, 1.0), (1.0, 0.0)], "")).expect("a figure");
    report.write(&folder.0).expect("a folder");

    let page = std::fs::read_to_string(folder.0.join(PAGE)).expect("a page");
    for part in [
        "<title>Normal &amp; &lt;others&gt;</title>",
        "<p>p &lt; 0.05 &amp;&amp; &quot;so&quot;</p>",
        "<tr><td>mean</td><td>172.5</td><td>172.5</td><td>reference</td><td>0</td></tr>",
        "<tr class=\"off\"><td>spread</td><td>4</td><td>5</td><td>notebook</td><td>-2.0e-1 (more than allowed)</td></tr>",
        "<tr><td>alone</td><td>NaN</td><td>–</td><td>–</td><td>–</td></tr>",
        "<tr><td>1</td><td>0.0001</td></tr>",
        "<img src=\"curve.png\" alt=\"a &#39;curve&#39;\">",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let record = std::fs::read_to_string(folder.0.join(RECORD)).expect("a record");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    let rows = &record["parts"][2]["rows"];
    assert_eq!((&rows[0]["key"], &rows[1]["holds"]), (&true.into(), &false.into()));
    assert!(rows[2]["ours"].is_null() && record["parts"][4]["file"] == "curve.png");
    assert_eq!(image::open(folder.0.join("curve.png")).expect("a picture").width(), 640);
}

/// Seen red with the notes in reverse.
#[test]
fn a_note_is_added_below_the_title() {
    let folder = Folder::new("note");
    Report::new("Title").write(&folder.0).expect("a folder");
    for text in ["made up <b>", "quick"] {
        add_note(&folder.0, text).expect("a note");
    }
    let page = std::fs::read_to_string(folder.0.join(PAGE)).expect("a page");
    assert!(page.contains("<p class=\"note\">made up &lt;b&gt;</p>") && page.contains("<p class=\"note\">quick</p>"));
    let record = std::fs::read_to_string(folder.0.join(RECORD)).expect("a record");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    assert_eq!(record["notes"], serde_json::json!(["made up <b>", "quick"]));
    assert!(add_note(&folder.0.join("none"), "").is_err());
}

/// Seen red with any name allowed.
#[test]
fn names_of_figures_are_file_names_and_their_own() {
    let mut report = Report::new("");
    for name in ["", "../up", "a/b", "a b"] {
        assert!(report.picture(name, "", Vec::new()).is_err(), "{name}");
    }
    report.picture("one", "", Vec::new()).expect("a name");
    assert!(report.picture("one", "", Vec::new()).is_err());
}
