//! Section 3 of the design, read literally for one path: the verdict with its reasons.
//!
//! Shares nothing with the compiled tree but the types, so that each holds the other in the tests.

use super::folder::{FolderPolicy, Inheritance};
use super::level::{Level, Right, Standing};
use super::line::{Line, LineKind, Principal};
use super::place::{PlacePath, Target};
use super::subject::Subject;
use super::tree::Verdict;

/// What became of a line that was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It decides.
    Decides,
    /// A rule that names the subject himself comes before it.
    OwnRuleFirst,
    /// A rule of a group comes before it.
    GroupRuleFirst,
    /// A grant that names the subject himself comes before it.
    OwnGrantFirst,
    /// One of its kind stands deeper.
    DeeperFirst,
    /// One of its kind gives more at the same place.
    HigherFirst,
    /// It does not reach into a grant that names the subject and starts below it.
    StopsAtGrant,
    /// Without a grant above the path, rules have no effect.
    NoGrant,
    /// The folder belongs to the subject: lines say nothing to him.
    Owner,
}

impl Outcome {
    /// The reason in words.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Decides => "decides",
            Self::OwnRuleFirst => "a rule that names the account itself comes first",
            Self::GroupRuleFirst => "a rule of a group comes before a grant",
            Self::OwnGrantFirst => "a grant that names the account itself comes first",
            Self::DeeperFirst => "a line deeper down comes first",
            Self::HigherFirst => "another line gives more",
            Self::StopsAtGrant => "does not reach into the grant that names the account below it",
            Self::NoGrant => "a rule has no effect without a grant",
            Self::Owner => "the owner is not bound by lines",
        }
    }
}

/// A line that reaches the path, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Looked {
    /// The line.
    pub line: Line,
    /// Where it stands.
    pub path: PlacePath,
    /// What became of it.
    pub outcome: Outcome,
}

/// What decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decided {
    /// The folder belongs to the subject.
    Owner,
    /// A line.
    Line(Line, PlacePath),
    /// No grant reaches the path.
    Nothing,
    /// The account may be no more than a viewer, or the mount no more than its ceiling.
    Ceiling(Level),
    /// What the line at this path was made for is gone: what is there now is not raised by it.
    Gone(PlacePath),
}

/// A verdict with its reasons.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The verdict.
    pub verdict: Verdict,
    /// What decided.
    pub decided: Decided,
    /// Every line that reaches the path, from the root down.
    pub chain: Vec<Looked>,
}

/// Resolves one path.
pub fn explain(folder: &FolderPolicy, subject: &Subject, path: &PlacePath) -> Explanation {
    let (standing, decided, chain) = standing(folder, subject, path);
    let rights = standing.rights();
    let corridor = folder.owner != subject.account
        && !rights.contains(Right::Read)
        && seen_lines_below(folder, subject, path);
    Explanation {
        verdict: Verdict {
            standing,
            rights,
            corridor,
        },
        decided,
        chain,
    }
}

fn standing(folder: &FolderPolicy, subject: &Subject, path: &PlacePath) -> (Standing, Decided, Vec<Looked>) {
    let mut chain = reaching(folder, subject, path);
    let (uncapped, decided) = if folder.owner == subject.account {
        for looked in &mut chain {
            looked.outcome = Outcome::Owner;
        }
        (Standing::Owner, Decided::Owner)
    } else {
        let (level, decided) = level(folder, subject, path, &mut chain);
        (Standing::Level(level), decided)
    };
    let limit = subject.limit();
    if uncapped <= limit {
        (uncapped, decided, chain)
    } else {
        (limit, Decided::Ceiling(limit.level()), chain)
    }
}

/// The level that lines give, those of gone targets only lowering.
fn level(
    folder: &FolderPolicy, subject: &Subject, path: &PlacePath, chain: &mut [Looked],
) -> (Level, Decided) {
    let winner = decide(folder.inheritance, subject, chain);
    let (mut level, mut decided) = match winner {
        Some(winner) => {
            let looked = &chain[winner];
            let level = looked.line.level.in_mount(subject.online);
            (level, Decided::Line(looked.line, looked.path.clone()))
        }
        None => (Level::Invisible, Decided::Nothing),
    };
    for above in path.way() {
        let gone = folder
            .lines_of(subject.principals())
            .filter_map(|line| folder.places.get(line.place))
            .any(|place| place.path == above && place.target == Target::Gone);
        if !gone {
            continue;
        }
        // What holds just above it, where its own lines do not reach.
        let inherited = above.parent().map_or(Level::Invisible, |parent| {
            let mut chain = reaching(folder, subject, &parent);
            self::level(folder, subject, &parent, &mut chain).0
        });
        if inherited < level {
            (level, decided) = (inherited, Decided::Gone(above));
        }
    }
    (level, decided)
}

/// Every line of the subject at the path or above it, from the root down.
fn reaching(folder: &FolderPolicy, subject: &Subject, path: &PlacePath) -> Vec<Looked> {
    let mut chain: Vec<_> = folder
        .lines_of(subject.principals())
        .filter_map(|line| Some((line, folder.places.get(line.place)?)))
        .filter(|(_, place)| path.starts_with(&place.path))
        .map(|(line, place)| Looked {
            line: *line,
            path: place.path.clone(),
            outcome: Outcome::DeeperFirst,
        })
        .collect();
    let of = |looked: &Looked| (looked.path.depth(), looked.line.kind, looked.line.principal);
    chain.sort_by_key(|looked| (of(looked), looked.line.level.in_mount(subject.online)));
    // Two for one principal at one path come of a move to where another place was lost: the lower holds.
    chain.dedup_by_key(|looked| of(looked));
    chain
}

/// Finds the line that decides, and notes of each other why it does not.
fn decide(inheritance: Inheritance, subject: &Subject, chain: &mut [Looked]) -> Option<usize> {
    let own = |looked: &Looked| looked.line.principal == Principal::Account(subject.account);
    let level = |looked: &Looked| looked.line.level.in_mount(subject.online);
    if chain.iter().all(|looked| looked.line.kind == LineKind::Rule) {
        for looked in chain {
            looked.outcome = Outcome::NoGrant;
        }
        return None;
    }
    let deepest = |chain: &[Looked], of: &dyn Fn(&Looked) -> bool| {
        (0..chain.len())
            .filter(|&at| of(&chain[at]))
            .max_by_key(|&at| (chain[at].path.depth(), level(&chain[at])))
    };
    if inheritance == Inheritance::Widen {
        let winner = (0..chain.len()).max_by_key(|&at| (level(&chain[at]), chain[at].path.depth()));
        for (at, looked) in chain.iter_mut().enumerate() {
            looked.outcome = if Some(at) == winner {
                Outcome::Decides
            } else {
                Outcome::HigherFirst
            };
        }
        return winner;
    }
    let rule = |looked: &Looked| looked.line.kind == LineKind::Rule;
    let own_grant = deepest(chain, &|looked| !rule(looked) && own(looked));
    let starts_at = own_grant.map(|at| chain[at].path.depth());
    let stopped = |looked: &Looked| {
        rule(looked) && !own(looked) && starts_at.is_some_and(|depth| looked.path.depth() < depth)
    };
    let own_rule = deepest(chain, &|looked| rule(looked) && own(looked));
    let group_rule = deepest(chain, &|looked| rule(looked) && !own(looked) && !stopped(looked));
    let group_grant = deepest(chain, &|looked| !rule(looked) && !own(looked));
    let winner = own_rule.or(group_rule).or(own_grant).or(group_grant)?;
    let (winning, winning_own) = (chain[winner].clone(), own(&chain[winner]));
    for (at, looked) in chain.iter_mut().enumerate() {
        looked.outcome = if at == winner {
            Outcome::Decides
        } else if stopped(looked) {
            Outcome::StopsAtGrant
        } else if own_rule.is_some() && !(rule(looked) && own(looked)) {
            Outcome::OwnRuleFirst
        } else if rule(&winning) && !rule(looked) {
            Outcome::GroupRuleFirst
        } else if !rule(&winning) && winning_own && !own(looked) {
            Outcome::OwnGrantFirst
        } else if looked.path.depth() == winning.path.depth() {
            Outcome::HigherFirst
        } else {
            Outcome::DeeperFirst
        };
    }
    Some(winner)
}

/// Tells whether a line whose target exists makes something below the path seen.
fn seen_lines_below(folder: &FolderPolicy, subject: &Subject, path: &PlacePath) -> bool {
    folder
        .lines_of(subject.principals())
        .filter_map(|line| folder.places.get(line.place))
        .filter(|place| place.path != *path && place.path.starts_with(path) && place.target == Target::There)
        .any(|place| {
            standing(folder, subject, &place.path)
                .0
                .rights()
                .contains(Right::See)
        })
}
