//! Accounts that do not work.

use crate::backing::users;
use crate::control::answers::{Finding, Grade};
use crate::store::AccountRow;

/// More accounts than these are not looked up: NSS may ask a network.
const MOST: usize = 1000;

/// Those that are frozen, and those whose user is gone.
pub(super) fn frozen(accounts: &[AccountRow]) -> Vec<Finding> {
    const ABOUT: &str = "accounts";
    let mut findings: Vec<_> = accounts
        .iter()
        .filter(|account| account.frozen)
        .map(|account| {
            Finding::new(
                Grade::Warning,
                ABOUT,
                format!(
                    "the account {} is frozen: its login name and the uid {} do not belong together any more",
                    account.login, account.uid
                ),
                format!(
                    "if it is still the same person: lendfs user set {} frozen=no",
                    account.login
                ),
            )
        })
        .collect();
    let gone = accounts
        .iter()
        .take(MOST)
        .filter(|account| !account.frozen && matches!(users::by_name(&account.login), Ok(None)));
    findings.extend(gone.map(|account| {
        Finding::new(
            Grade::Note,
            ABOUT,
            format!("the account {} has no user any more", account.login),
            format!("if he does not come back: lendfs user remove {}", account.login),
        )
    }));
    if findings.is_empty() {
        findings.push(Finding::ok(
            ABOUT,
            format!("{} accounts, none of them frozen", accounts.len()),
        ));
    }
    findings
}
