use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::Route;
use super::super::offer::{Offer, Provider};
use super::*;
use crate::addr::BackendAddr;
use crate::host::{Host, Names};

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn addr(text: &str) -> BackendAddr {
    BackendAddr::parse(text).unwrap()
}

fn postgres(rows: &Table) -> Vec<Offer> {
    let route = |(name, backend): (&String, &String)| {
        let route = Route {
            provider: Provider::Postgres,
            managed: true,
            ..Route::fixed(Some(host(name)), addr(backend), Arc::default())
        };
        Offer::from(Arc::new(route))
    };
    rows.iter().map(route).collect()
}

/// Host to backend; the default's host is [`DEFAULT`].
type Table = BTreeMap<String, String>;
const DEFAULT: &str = "default";

fn json(table: &Table) -> String {
    let mut mappings = table.clone();
    let default = mappings.remove(DEFAULT);
    serde_json::json!({ "default-server": default, "mappings": mappings }).to_string()
}

struct World {
    folder: TempDir,
    registry: Arc<Registry>,
    routes: Arc<FixedRoutes>,
}

impl World {
    fn path(folder: &TempDir) -> PathBuf {
        folder.path().join("routes.json")
    }

    /// A router's start with `flags`, in `folder`.
    fn start(folder: TempDir, flags: &Table) -> Result<Self, Unusable> {
        let mut mapping = flags.clone();
        let default = mapping.remove(DEFAULT).map(|backend| addr(&backend));
        let mapping = mapping
            .iter()
            .map(|(name, backend)| (host(name), addr(backend)));
        let registry = Registry::new(mapping, default, Arc::default(), Names::default()).unwrap();
        let registry = Arc::new(registry);
        let routes = FixedRoutes::open(Arc::clone(&registry), Some(Self::path(&folder)))?;
        Ok(Self {
            folder,
            registry,
            routes,
        })
    }

    fn new(json: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(Self::path(&folder), json).unwrap();
        Self::start(folder, &Table::new()).unwrap()
    }

    fn write(&self, text: &str) {
        fs::write(Self::path(&self.folder), text).unwrap();
    }

    fn written(&self) -> Option<Table> {
        let bytes = fs::read(Self::path(&self.folder)).ok()?;
        Some(table_of(&RoutesFile::parse(&bytes, Names::default()).ok()?))
    }

    fn reload(&self) {
        let path = Self::path(&self.folder);
        self.routes.reload_now(&path, &mut None, false);
    }

    fn set(&self, name: &str, backend: &str) -> Result<Outcome, ChangeError> {
        self.routes
            .change_now(&Edit::Set(host(name), addr(backend)))
    }

    fn routed(&self) -> Table {
        let table = self.registry.table();
        let each = table
            .iter()
            .map(|(host, route)| (host.to_string(), route.backend.to_string()));
        let default = table
            .default_route()
            .map(|route| (DEFAULT.to_owned(), route.backend.to_string()));
        each.chain(default).collect()
    }
}

fn table_of(file: &RoutesFile) -> Table {
    let each = file
        .mappings
        .iter()
        .map(|(host, backend)| (host.to_string(), backend.to_string()));
    let default = file
        .default
        .as_ref()
        .map(|backend| (DEFAULT.to_owned(), backend.to_string()));
    each.chain(default).collect()
}

fn table(pairs: &[(&str, &str)]) -> Table {
    pairs
        .iter()
        .map(|&(name, backend)| (name.to_owned(), backend.to_owned()))
        .collect()
}

#[test]
fn a_bad_file_is_refused_at_start_and_a_missing_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = World::path(&folder);
    fs::write(&path, r#"{"mappings":{"a.example":"nowhere"}}"#).unwrap();
    let registry = Arc::<Registry>::default();
    let error = FixedRoutes::open(Arc::clone(&registry), Some(path.clone())).unwrap_err();
    for named in ["routes.json", "a.example", "nowhere"] {
        assert!(error.to_string().contains(named), "{named} in {error}");
    }
    assert!(FixedRoutes::open(Arc::clone(&registry), Some(folder.path().to_owned())).is_err());
    fs::remove_file(&path).unwrap();
    FixedRoutes::open(registry, Some(path)).unwrap();
}

#[test]
fn a_change_is_made_in_what_the_file_says_now() {
    let world = World::new(r#"{"_note":"mine","mappings":{"a.example":"a:1"}}"#);
    world.write(r#"{"_note":"mine","mappings":{"b.example":"b:1"}}"#);

    world.set("c.example", "c:1").unwrap();

    let both = table(&[("b.example", "b:1"), ("c.example", "c:1")]);
    assert_eq!(world.written(), Some(both.clone()));
    assert_eq!(world.routed(), both);
    let text = fs::read_to_string(World::path(&world.folder)).unwrap();
    assert!(text.contains("\"mine\""), "{text}");
}

#[test]
fn a_change_that_cannot_be_written_is_not_made() {
    let world = World::new(r#"{"mappings":{"a.example":"a:1"}}"#);
    let before = world.routed();
    world.write("{");
    let error = world.set("b.example", "b:1").unwrap_err();
    assert!(matches!(error, ChangeError::Unreadable(_)), "{error}");
    assert_eq!(fs::read(World::path(&world.folder)).unwrap(), b"{");

    // Without its folder, there is no place to write to.
    let path = world.folder.path().to_owned();
    fs::remove_dir_all(&path).unwrap();
    let error = world.set("b.example", "b:1").unwrap_err();
    assert!(matches!(error, ChangeError::NotWritten(_)), "{error}");
    assert_eq!(world.routed(), before);
    fs::create_dir(&path).unwrap();
    world.set("b.example", "b:1").unwrap();
    assert_eq!(
        world.written().unwrap().len(),
        2,
        "nothing was lost meanwhile"
    );
}

#[test]
fn what_changes_nothing_writes_nothing() {
    let text = r#"{"mappings":{"a.example":"a:1"}}"#;
    let world = World::new(text);
    world.set("a.example", "a:1").unwrap();
    let gone = world
        .routes
        .change_now(&Edit::Remove("b.example".to_owned()));
    assert_eq!(gone.unwrap(), Outcome::NotFound);
    assert_eq!(
        fs::read_to_string(World::path(&world.folder)).unwrap(),
        text
    );

    fs::remove_file(World::path(&world.folder)).unwrap();
    world
        .routes
        .change_now(&Edit::Remove("b.example".to_owned()))
        .unwrap();
    assert_eq!(world.written(), None);
    world.set("a.example", "a:1").unwrap();
    assert_eq!(world.written(), Some(table(&[("a.example", "a:1")])));
}

#[tokio::test]
async fn changes_at_the_same_time_are_all_written() {
    let world = World::new("{}");
    let mut changes = tokio::task::JoinSet::new();
    for number in 0..20 {
        let routes = Arc::clone(&world.routes);
        let edit = Edit::Set(host(&format!("h{number}.example")), addr("h:1"));
        changes.spawn(async move { routes.change(edit).await });
    }
    for outcome in changes.join_all().await {
        assert_eq!(outcome.unwrap(), Outcome::Done);
    }
    assert_eq!(world.written().unwrap().len(), 20);
    assert_eq!(world.routed().len(), 20);
}

#[derive(Debug, Clone)]
enum Step {
    /// Somebody writes the file.
    Write(Table),
    /// Somebody writes something else there.
    Break,
    Delete,
    Reload,
    Set(String, String),
    Remove(String),
    Postgres(Table),
    Restart,
}

fn hosts() -> impl Strategy<Value = String> {
    proptest::sample::select(&["a.example", "b.example", "c.example"][..]).prop_map(str::to_owned)
}

fn keys() -> impl Strategy<Value = String> {
    prop_oneof![3 => hosts(), 1 => Just(DEFAULT.to_owned())]
}

fn tables(backends: &'static [&'static str]) -> impl Strategy<Value = Table> {
    let backend = proptest::sample::select(backends).prop_map(str::to_owned);
    proptest::collection::btree_map(keys(), backend, 0..4)
}

fn steps() -> impl Strategy<Value = Step> {
    let backend = proptest::sample::select(&["api:1", "api:2"][..]).prop_map(str::to_owned);
    prop_oneof![
        3 => tables(&["file:1", "file:2"]).prop_map(Step::Write),
        1 => Just(Step::Break),
        1 => Just(Step::Delete),
        4 => Just(Step::Reload),
        4 => (keys(), backend).prop_map(|(key, backend)| Step::Set(key, backend)),
        2 => keys().prop_map(Step::Remove),
        2 => tables(&["pg:1", "pg:2"]).prop_map(|mut rows| {
            rows.remove(DEFAULT);
            Step::Postgres(rows)
        }),
        1 => Just(Step::Restart),
    ]
}

/// The rules, told once more: what each source holds, and what lies on the disk.
#[derive(Default)]
struct Rules {
    flags: Table,
    file: Table,
    postgres: Table,
    /// `None`: something else; `Some(None)`: nothing.
    disk: Option<Option<Table>>,
}

impl Rules {
    fn reload(&mut self) {
        if let Some(Some(table)) = &self.disk {
            self.file.clone_from(table);
        }
    }

    /// Whether the API can make a change.
    fn edit(&mut self, key: &str, backend: Option<&str>) -> bool {
        let Some(on_disk) = &self.disk else {
            return false;
        };
        let (missing, mut new) = match on_disk {
            Some(table) => (false, table.clone()),
            None => (true, self.file.clone()),
        };
        let old = match backend {
            Some(backend) => new.insert(key.to_owned(), backend.to_owned()),
            None => new.remove(key),
        };
        let is_removal = backend.is_none();
        if old.as_deref() != backend || (missing && !is_removal) {
            self.disk = Some(Some(new.clone()));
        }
        self.file = new;
        self.flags.remove(key);
        true
    }

    fn routed(&self) -> Table {
        let mut all = self.postgres.clone();
        all.extend(self.file.clone());
        all.extend(self.flags.clone());
        all
    }
}

fn edit(key: &str, backend: Option<&str>) -> Edit {
    match (key, backend) {
        (DEFAULT, backend) => Edit::Default(backend.map(addr)),
        (key, Some(backend)) => Edit::Set(host(key), addr(backend)),
        (key, None) => Edit::Remove(key.to_owned()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn any_story_of_edits_reloads_and_requests_ends_with_what_the_sources_say(
        flags in tables(&["flag:1"]),
        steps in proptest::collection::vec(steps(), 1..25),
    ) {
        let mut world = World::start(tempfile::tempdir().unwrap(), &flags).unwrap();
        let mut rules = Rules { flags: flags.clone(), disk: Some(None), ..Rules::default() };
        for step in &steps {
            match step {
                Step::Write(table) => {
                    world.write(&json(table));
                    rules.disk = Some(Some(table.clone()));
                }
                Step::Break => {
                    world.write("{\"mappings\":{\"a.example\":\"\"}}");
                    rules.disk = None;
                }
                Step::Delete => {
                    drop(fs::remove_file(World::path(&world.folder)));
                    rules.disk = Some(None);
                }
                Step::Reload => {
                    world.reload();
                    rules.reload();
                }
                Step::Set(key, _) | Step::Remove(key) => {
                    let backend = if let Step::Set(_, backend) = step { Some(&**backend) } else { None };
                    let was_there = rules.file.contains_key(key) || rules.flags.contains_key(key)
                        || matches!(&rules.disk, Some(Some(table)) if table.contains_key(key));
                    let outcome = world.routes.change_now(&edit(key, backend));
                    prop_assert_eq!(outcome.is_ok(), rules.edit(key, backend));
                    if let (Ok(outcome), None) = (outcome, backend) {
                        prop_assert_eq!(outcome == Outcome::Done, was_there, "{}", key);
                        let foreign = !was_there && rules.postgres.contains_key(key);
                        prop_assert_eq!(outcome == Outcome::OwnedByPostgres, foreign);
                    }
                }
                Step::Postgres(rows) => {
                    world.registry.replace(Provider::Postgres, postgres(rows));
                    rules.postgres.clone_from(rows);
                }
                Step::Restart if rules.disk.is_some() => {
                    world = World::start(world.folder, &flags).unwrap();
                    let disk = rules.disk.take().flatten();
                    let file = disk.clone().unwrap_or_default();
                    rules = Rules { flags: flags.clone(), file, disk: Some(disk), ..Rules::default() };
                }
                Step::Restart => {}
            }
            prop_assert_eq!(world.routed(), rules.routed(), "{:?}", step);
            if let Some(on_disk) = &rules.disk {
                prop_assert_eq!(&world.written(), on_disk, "{:?}", step);
            }
        }
    }
}
