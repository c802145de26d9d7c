//! The accounts that every instance has, and what to do to those that are not as they should be.
//!
//! They are set by each instance for itself and never written to the binary log: in the log they would wait for
//! an acknowledgement, and while they waited nobody could log in. They are given hashes, not passwords, and are
//! exempt from expiry, history and reuse: no rule of the server's for people's passwords locks the agent out. An
//! account that is as it should be is left alone.

use std::collections::BTreeSet;

use crate::credentials::{Credentials, Own, Password};
use crate::sql::quote::text;
use crate::sql::{AGENT, BACKUP, CLONE, OPERATOR, REPLICATION, sha2_password};

/// Whose an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Ours: made, and kept as it should be.
    Ours,
    /// A person's: made with the data directory. Afterwards only its password follows the Secret; whether it is
    /// there, locked, or may do something is theirs to say.
    Theirs,
}

/// Every account but the agent's own must have these for what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Privileges {
    /// All there are, and to grant them on. These tell whether it has them.
    All(&'static [&'static str]),
    /// These on everything.
    Global(&'static [&'static str]),
    /// These on everything, and to read `performance_schema`.
    AndMonitoring(&'static [&'static str]),
}

/// An account as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    user: &'static str,
    host: &'static str,
    password: Password,
    /// What the server keeps of the password. As good as one for who wants to guess it.
    hash: Password,
    /// Over the network only with TLS.
    ssl: bool,
    privileges: Privileges,
    whose: Whose,
}

/// An account as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// User.
    pub(crate) user: String,
    /// Host.
    pub(crate) host: String,
    /// Authentication plugin.
    pub(crate) plugin: String,
    /// `authentication_string`.
    pub(crate) kept: String,
    /// It must come with TLS.
    pub(crate) ssl: bool,
    /// Neither locked nor expired, with no limit to its use, and exempt from what would do that to it.
    pub(crate) open: bool,
    /// Its global privileges, and [`MONITORING`].
    pub(crate) privileges: BTreeSet<String>,
}

/// As a privilege of [`Found`]: to read `performance_schema`.
pub(crate) const MONITORING: &str = "performance_schema";

/// A statement about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// The statement.
    pub(crate) text: String,
    /// What must not be told of it.
    pub(crate) secret: Password,
}

/// Sessions that an account of ours may have: a number of its own, since without one `max_user_connections` is it.
pub(crate) const SESSIONS: u32 = 100_000;

/// What the agent itself needs.
const AGENT_NEEDS: &[&str] = &[
    "SELECT",
    "RELOAD",
    "SHUTDOWN",
    "PROCESS",
    "SUPER",
    "CREATE USER",
    "EVENT",
    "REPLICATION CLIENT",
    "SYSTEM_VARIABLES_ADMIN",
    "CONNECTION_ADMIN",
    "REPLICATION_SLAVE_ADMIN",
    "CLONE_ADMIN",
    "BACKUP_ADMIN",
    "SERVICE_CONNECTION_ADMIN",
    "SET_ANY_DEFINER",
    "SYSTEM_USER",
];

/// [`ADMIN_ADDRESS`](crate::sql::ADMIN_ADDRESS), as an account's host.
const LOOPBACK: &str = "127.0.0.1";

/// All accounts, with the passwords of the mounted Secret. One whose password can't work is not among them: it stays
/// as it is.
pub(crate) fn wanted(credentials: &Credentials, own: &Own) -> Vec<Account> {
    let account = |user: &'static str, host: &'static str, password: &Password, privileges| Account {
        user,
        host,
        password: password.clone(),
        hash: Password::new(sha2_password::hash(password.reveal(), user)),
        ssl: host != "localhost",
        privileges,
        whose: Whose::Ours,
    };
    // What XtraBackup asks for: its manual, "Connection and privileges needed".
    let tool = &["RELOAD", "PROCESS", "LOCK TABLES", "REPLICATION CLIENT", "BACKUP_ADMIN"];
    let reads = &["REPLICATION CLIENT", "PROCESS", "SERVICE_CONNECTION_ADMIN"];
    let mut accounts = vec![
        // Over the socket; and over the administrative interface, where it comes as this under `skip_name_resolve`.
        account(AGENT, "localhost", &own.agent, Privileges::All(AGENT_NEEDS)),
        account(AGENT, LOOPBACK, &own.agent, Privileges::All(AGENT_NEEDS)),
        account(BACKUP, "localhost", &own.backup, Privileges::AndMonitoring(tool)),
        account(OPERATOR, "%", &credentials.operator, Privileges::AndMonitoring(reads)),
        account(CLONE, "%", &credentials.clone, Privileges::Global(&["BACKUP_ADMIN"])),
        Account {
            whose: Whose::Theirs,
            ..account("root", "%", &credentials.root, Privileges::All(&["SUPER"]))
        },
    ];
    if credentials.replication_fits() {
        let privileges = Privileges::Global(&["REPLICATION SLAVE"]);
        accounts.push(account(REPLICATION, "%", &credentials.replication, privileges));
    }
    accounts
}

impl Account {
    /// Whose it is.
    pub(crate) fn whose(&self) -> Whose {
        self.whose
    }

    fn name(&self) -> String {
        format!("'{}'@'{}'", self.user, self.host)
    }

    /// All statements that make it as it should be, whatever it was.
    fn made(&self) -> Vec<String> {
        let name = self.name();
        let require = if self.ssl { "SSL" } else { "NONE" };
        let sessions = if self.whose == Whose::Ours { SESSIONS } else { 0 };
        let is = format!(
            "{name} {} REQUIRE {require} WITH MAX_QUERIES_PER_HOUR 0 MAX_UPDATES_PER_HOUR 0 MAX_CONNECTIONS_PER_HOUR 0 \
             MAX_USER_CONNECTIONS {sessions} PASSWORD EXPIRE NEVER PASSWORD HISTORY 0 PASSWORD REUSE INTERVAL 0 DAY \
             PASSWORD REQUIRE CURRENT OPTIONAL FAILED_LOGIN_ATTEMPTS 0 PASSWORD_LOCK_TIME 0 ACCOUNT UNLOCK",
            self.identified()
        );
        let mut statements = vec![format!("CREATE USER IF NOT EXISTS {is}"), format!("ALTER USER {is}")];
        let global = |privileges: &[&str]| format!("GRANT {} ON *.* TO {name}", privileges.join(", "));
        match self.privileges {
            Privileges::All(_) => {
                statements.push(format!("GRANT ALL ON *.* TO {name} WITH GRANT OPTION"));
            }
            Privileges::Global(privileges) => statements.push(global(privileges)),
            Privileges::AndMonitoring(privileges) => {
                statements.push(global(privileges));
                statements.push(format!("GRANT SELECT ON performance_schema.* TO {name}"));
            }
        }
        statements
    }

    fn identified(&self) -> String {
        format!("IDENTIFIED WITH {} AS {}", sha2_password::PLUGIN, text(self.hash.reveal()))
    }

    fn has_password(&self, found: &Found) -> bool {
        found.kept == self.hash.reveal() || sha2_password::matches(&found.kept, self.password.reveal())
    }

    fn is(&self, found: &Found) -> bool {
        let (needs, monitoring) = match self.privileges {
            Privileges::All(needs) | Privileges::Global(needs) => (needs, false),
            Privileges::AndMonitoring(needs) => (needs, true),
        };
        found.plugin == sha2_password::PLUGIN
            && found.open
            && found.ssl == self.ssl
            && needs.iter().all(|need| found.privileges.contains(*need))
            && (!monitoring || found.privileges.contains(MONITORING))
            && self.has_password(found)
    }

    fn difference(&self, found: Option<&Found>) -> Vec<String> {
        match (self.whose, found) {
            (Whose::Ours, Some(found)) if self.is(found) => Vec::new(),
            (Whose::Ours, _) => self.made(),
            // Whoever gave it another plugin has no use for the Secret's password.
            (Whose::Theirs, Some(found))
                if found.plugin == sha2_password::PLUGIN && !self.has_password(found) =>
            {
                vec![format!("ALTER USER {} {}", self.name(), self.identified())]
            }
            (Whose::Theirs, _) => Vec::new(),
        }
    }

    fn statements(&self, texts: Vec<String>) -> Vec<Statement> {
        texts.into_iter().map(|text| Statement { text, secret: self.hash.clone() }).collect()
    }
}

/// What is to be done to the accounts that are not as they should be.
pub(crate) fn differences<'a>(
    wanted: impl IntoIterator<Item = &'a Account>,
    found: &[Found],
) -> Vec<Statement> {
    let differs = |account: &Account| {
        let is = found.iter().find(|found| found.user == account.user && found.host == account.host);
        account.statements(account.difference(is))
    };
    wanted.into_iter().flat_map(differs).collect()
}

/// What these statements undo of what a person did to an account of theirs, and where that is done instead.
pub(crate) fn undone(statements: &[Statement]) -> Vec<String> {
    let theirs = |statement: &&Statement| statement.text.starts_with("ALTER USER 'root'@'%' IDENTIFIED");
    let said = statements.iter().find(theirs).map(|_| {
        "the password of root@'%' was not the one in the cluster's Secret, and was set to that: to change it, change the \
         key root of the Secret"
    });
    said.map(String::from).into_iter().collect()
}

/// Makes people's accounts in a data directory that was just initialised, and drops the one without a password that
/// `--initialize-insecure` made.
pub(crate) fn first(wanted: &[Account]) -> Vec<Statement> {
    let theirs = wanted.iter().filter(|account| account.whose == Whose::Theirs);
    let mut statements: Vec<_> = theirs.flat_map(|account| account.statements(account.made())).collect();
    let text = "DROP USER IF EXISTS 'root'@'localhost'".to_owned();
    statements.push(Statement { text, secret: Password::new("") });
    statements
}

/// The init file of a server that nobody but the agent can reach: one statement a line. It lets the agent in; the
/// agent sees to all else, and to what became of it.
pub(crate) fn init_file(wanted: &[Account]) -> String {
    let mut statements = vec![
        "SET SESSION sql_mode = ''".to_owned(),
        "SET SESSION sql_log_bin = 0".to_owned(),
        "SET GLOBAL super_read_only = OFF".to_owned(),
    ];
    statements.extend(wanted.iter().filter(|account| account.user == AGENT).flat_map(Account::made));
    statements.push("SET GLOBAL super_read_only = ON".to_owned());
    statements.join(";\n") + ";\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Vec<Account> {
        let password = Password::new;
        let credentials = Credentials {
            root: password("root-pw"),
            operator: password("operator-pw"),
            replication: password("replication-pw"),
            clone: password("clone-pw"),
        };
        wanted(&credentials, &Own::of(&credentials))
    }

    /// Every account as it should be.
    fn settled(accounts: &[Account]) -> Vec<Found> {
        let found = |account: &Account| {
            let (needs, monitoring) = match account.privileges {
                Privileges::All(needs) | Privileges::Global(needs) => (needs, false),
                Privileges::AndMonitoring(needs) => (needs, true),
            };
            let mut privileges: BTreeSet<String> = needs.iter().map(|need| (*need).to_owned()).collect();
            if monitoring {
                privileges.insert(MONITORING.into());
            }
            Found {
                user: account.user.into(),
                host: account.host.into(),
                plugin: sha2_password::PLUGIN.into(),
                kept: account.hash.reveal().into(),
                ssl: account.ssl,
                open: true,
                privileges,
            }
        };
        accounts.iter().map(found).collect()
    }

    fn after(change: impl FnOnce(&mut Vec<Found>)) -> Vec<String> {
        let accounts = accounts();
        let mut found = settled(&accounts);
        change(&mut found);
        differences(&accounts, &found).into_iter().map(|statement| statement.text).collect()
    }

    fn of<'a>(found: &'a mut [Found], user: &str) -> &'a mut Found {
        found.iter_mut().find(|found| found.user == user).unwrap()
    }

    #[test]
    fn an_account_that_is_as_it_should_be_is_left_alone() {
        assert_eq!(after(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn whatever_was_done_to_one_of_ours_is_undone() {
        type Change = fn(&mut Found);
        let changes: [Change; 6] = [
            |f| f.plugin = "mysql_native_password".into(),
            |f| f.kept = sha2_password::hash("other", "x"),
            |f| f.open = false,
            |f| f.ssl = !f.ssl,
            |f| f.privileges.clear(),
            |f| f.user.push('x'),
        ];
        for user in [AGENT, BACKUP, OPERATOR, REPLICATION, CLONE] {
            for change in changes {
                let statements = after(|found| change(of(found, user)));
                assert!(statements.len() >= 3, "{user}: {statements:?}");
                assert!(statements.iter().all(|statement| statement.contains(&format!("'{user}'@"))));
                assert!(statements[1].ends_with("ACCOUNT UNLOCK"));
            }
        }
    }

    #[test]
    fn of_a_persons_account_only_the_password_follows_the_secret() {
        let changes: [fn(&mut Found); 4] = [
            |f| f.open = false,
            |f| f.privileges.clear(),
            |f| f.ssl = false,
            |f| {
                f.plugin = "auth_socket".into();
                f.kept.clear();
            },
        ];
        for change in changes {
            assert_eq!(after(|found| change(of(found, "root"))), Vec::<String>::new());
        }
        assert_eq!(after(|found| found.retain(|f| f.user != "root")), Vec::<String>::new(), "dropped");
        let statements = after(|found| of(found, "root").kept = sha2_password::hash("old", "root"));
        assert_eq!(statements.len(), 1);
        assert!(statements[0].starts_with("ALTER USER 'root'@'%' IDENTIFIED WITH"), "{statements:?}");
        assert!(!statements[0].contains("UNLOCK"));
        let all = differences(&accounts(), &[]);
        assert_eq!(undone(&all), Vec::<String>::new(), "one that was dropped stays so");
        let password = |text: &str| Statement { text: text.into(), secret: Password::new("") };
        assert_eq!(undone(&statements.iter().map(|text| password(text)).collect::<Vec<_>>()).len(), 1);
        let same = after(|found| of(found, "root").kept = sha2_password::hash("root-pw", "another salt"));
        assert_eq!(same, Vec::<String>::new(), "the same password, set by a person");
    }

    #[test]
    fn a_password_is_in_no_statement() {
        let accounts = accounts();
        let all = differences(&accounts, &[]).into_iter().chain(first(&accounts));
        let texts: String = all.map(|statement| statement.text + "\n").collect();
        assert!(!texts.contains("-pw") && !init_file(&accounts).contains("-pw"), "{texts}");
    }

    #[test]
    fn an_init_file_logs_nothing_and_has_one_statement_a_line() {
        let text = init_file(&accounts());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "SET SESSION sql_log_bin = 0;");
        assert_eq!(lines.last(), Some(&"SET GLOBAL super_read_only = ON;"));
        assert!(lines.iter().all(|line| line.ends_with(';')));
    }
}
