//! Tables in text: every form that is read, and every kind of fault with its line and column.
use nijimi_trainer::data::table::Table;
use nijimi_trainer::data::table_error::TableError;
use nijimi_trainer::error::Error;
use std::fmt::Write;

fn parse(text: &str) -> Result<Table, TableError> {
    Table::parse(text.as_bytes(), None)
}

fn refused(text: &str, columns: Option<&str>, expected: TableError) {
    assert_eq!(Table::parse(text.as_bytes(), columns), Err(expected), "{text:?}");
}

/// Seen red with the comma preferred to the tab, and with quotes left to the plain splitter.
#[test]
fn all_delimiters_and_headers_are_read() {
    let forms = [
        "1 2.5\n-3 4e2\n",
        "  1\t 2.5\n-3\t4e2",
        "1,2.5\r\n-3,4e2\r\n",
        "1;2.5\n\n-3;4e2\n\n",
        "# two rows\n1   2.5  \n# and\n-3   4e2\n",
        "\u{feff}1, 2.5\n-3 ,4e2",
        "\"1\",2.5\n-3,\"4e2\"\n",
    ];
    for text in forms {
        let t = parse(text).expect(text);
        assert_eq!(t.columns(), [vec![1.0, -3.0], vec![2.5, 400.0]], "{text:?}");
        assert_eq!(t.names(), ["x1", "x2"]);
    }
    let tabs = parse("length, cm\tweight\n1\t2.5\n-3\t4e2\n").expect("a comma in a name between tabs");
    assert_eq!((tabs.names()[0].as_str(), tabs.columns()[1][1]), ("length, cm", 400.0));
    let named = parse("height,\"weight, kg\"\n1,2\n3,4\n").expect("names");
    assert_eq!(named.names(), ["height", "weight, kg"]);
    assert_eq!(named.rows(), 2);
    assert_eq!(parse("7\n8\n").expect("one column").names(), ["x"]);
}

/// Seen red with numbers counted from 0, and without the check of columns asked for twice.
#[test]
fn columns_are_picked_by_name_or_number() {
    let text = "id,a,b\nfirst,1,2\nsecond,3,4\n";
    let pick = |columns| Table::parse(text.as_bytes(), Some(columns)).expect(columns);
    assert_eq!(pick("b,a").columns(), [vec![2.0, 4.0], vec![1.0, 3.0]]);
    assert_eq!(pick(" 3 , a").names(), ["b", "a"]);
    let none = |wanted: &str| TableError::NoColumn { wanted: wanted.into(), known: "id, a, b".into() };
    refused(text, Some("a,c"), none("c"));
    refused(text, Some("0"), none("0"));
    refused(text, Some("4"), none("4"));
    refused(text, Some("a,2"), TableError::Twice("2".into()));
    assert_eq!(pick("a").renamed("x,y"), Err(TableError::Names { given: 2, columns: 1 }));
    assert_eq!(pick("a").renamed(" eruption ").expect("one name").names(), ["eruption"]);
}

// Each of these was seen red with its check taken out of the reader.

#[test]
fn what_is_not_a_finite_number_is_refused_with_its_place() {
    let at = |line, column, name: &str, text: &str| (line, column, name.to_owned(), text.to_owned());
    let (line, column, name, text) = at(4, 2, "x2", "4o0");
    refused("1 2\n\n# c\n3 4o0\n", None, TableError::NotANumber { line, column, name, text });
    for word in ["nan", "NaN", "inf", "-Infinity", "1e999"] {
        let (line, column, name, text) = at(2, 1, "x1", word);
        refused(&format!("1,2\n{word},4\n"), None, TableError::NotFinite { line, column, name, text });
    }
    for word in ["", " ", "NA", "null"] {
        refused(&format!("a,b\n1,2\n3,{word}\n"), None, TableError::Missing { line: 3, column: 2, name: "b".into() });
    }
    let message = parse("a;b\n1;2\n3;4,5\n").expect_err("a decimal comma").to_string();
    assert_eq!(message, "line 3, column 2 (b): \"4,5\" is not a number: write the decimal point as a point");
}

#[test]
fn ragged_rows_are_refused_with_their_line() {
    refused("1 2\n3\n", None, TableError::Ragged { line: 2, found: 1, expected: 2 });
    refused("a,b\n1,2\n3,4,5\n", None, TableError::Ragged { line: 3, found: 3, expected: 2 });
    refused("a,b\n1,2\nx,4,5\n", Some("b"), TableError::Ragged { line: 3, found: 3, expected: 2 });
}

#[test]
fn a_first_line_of_names_and_numbers_is_refused() {
    refused("a,1\n2,3\n", None, TableError::Header { line: 1, column: 1, text: "a".into() });
    refused("# c\n1 2,5\n2 3\n", None, TableError::Header { line: 2, column: 1, text: "1 2".into() });
}

#[test]
fn files_without_rows_are_refused() {
    for text in ["", "\n\n", "# nothing\n", "a,b\n", "\u{feff}"] {
        refused(text, None, TableError::Empty);
    }
}

#[test]
fn a_file_is_named_in_the_error() {
    let path = std::env::temp_dir().join(format!("nijimi-table-{}.csv", std::process::id()));
    std::fs::write(&path, "1,2\n3\n").expect("writing");
    let error = Table::read(&path, None).expect_err("ragged");
    std::fs::remove_file(&path).expect("removal");
    assert!(matches!(&error, Error::Table { path: p, source } if *p == path && source.line() == Some(2)), "{error}");
    assert!(matches!(Table::read(&path, None), Err(Error::Io { .. })));
}

/// Long enough for several threads, so that the lines' numbers and the rows' order are put together from parts.
///
/// Seen red with each part's lines counted from 1, and with the parts put together in reverse.
#[test]
fn long_files_keep_order_and_line_numbers() {
    let mut text = String::from("a,b\n");
    (0..200_000).for_each(|i| writeln!(text, "{i},{}", i * 2 + 1).expect("text"));
    let t = parse(&text).expect("a long table");
    assert_eq!(t.rows(), 200_000);
    assert!((0..200_000).all(|i| t.columns()[0][i] == i as f64 && t.columns()[1][i] == (2 * i + 1) as f64));
    text.push_str("1,x\n");
    let error = parse(&text).expect_err("a fault in the last line");
    assert_eq!(error.line(), Some(200_002));
}
