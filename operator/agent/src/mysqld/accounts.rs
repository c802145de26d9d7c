//! The accounts that every instance has, with the passwords of the mounted Secret.
//!
//! They are set by each instance for itself and never written to the binary log: in the log they would wait for
//! an acknowledgement, and while they waited nobody could log in.

use crate::credentials::{Credentials, Password};
use crate::sql::quote::text;
use crate::sql::{AGENT, BACKUP, CLONE, OPERATOR, REPLICATION};

struct Account<'a> {
    /// `'user'@'host'`.
    name: String,
    password: &'a Password,
    /// Over the network only with TLS.
    require: &'static str,
    grants: &'static [&'static str],
}

fn accounts<'a>(credentials: &'a Credentials) -> Vec<Account<'a>> {
    let everywhere = |user: &str| format!("'{user}'@'%'");
    vec![
        Account {
            name: everywhere("root"),
            password: &credentials.root,
            require: "NONE",
            grants: &["GRANT ALL ON *.* TO @ WITH GRANT OPTION"],
        },
        Account {
            name: everywhere(OPERATOR),
            password: &credentials.operator,
            require: "SSL",
            grants: &[
                "GRANT REPLICATION CLIENT, PROCESS ON *.* TO @",
                "GRANT SERVICE_CONNECTION_ADMIN ON *.* TO @",
                "GRANT SELECT ON performance_schema.* TO @",
            ],
        },
        Account {
            name: everywhere(REPLICATION),
            password: &credentials.replication,
            require: "SSL",
            grants: &["GRANT REPLICATION SLAVE ON *.* TO @"],
        },
        Account {
            name: everywhere(CLONE),
            password: &credentials.clone,
            require: "SSL",
            grants: &["GRANT BACKUP_ADMIN ON *.* TO @"],
        },
    ]
}

fn statements_for(account: &Account<'_>) -> Vec<String> {
    let Account { name, password, require, grants } = account;
    let password = text(password.reveal());
    let mut statements = vec![
        format!("CREATE USER IF NOT EXISTS {name} IDENTIFIED BY {password} REQUIRE {require}"),
        format!("ALTER USER {name} IDENTIFIED BY {password} REQUIRE {require} ACCOUNT UNLOCK"),
    ];
    statements.extend(grants.iter().map(|grant| grant.replace('@', name)));
    statements
}

/// Statements that give the mounted passwords to the accounts that come over the network. Each holds secrets.
pub(crate) fn network(credentials: &Credentials) -> Vec<String> {
    accounts(credentials).iter().flat_map(statements_for).collect()
}

/// The init file: one statement a line, executed before anybody can connect.
pub(crate) fn init_file(credentials: &Credentials, agent: &Password, backup: &Password) -> String {
    // What XtraBackup asks for: its manual, "Connection and privileges needed".
    let tool = Account {
        name: format!("'{BACKUP}'@'localhost'"),
        password: backup,
        require: "NONE",
        grants: &[
            "GRANT RELOAD, PROCESS, LOCK TABLES, REPLICATION CLIENT ON *.* TO @",
            "GRANT BACKUP_ADMIN ON *.* TO @",
            "GRANT SELECT ON performance_schema.* TO @",
        ],
    };
    let own = Account {
        name: format!("'{AGENT}'@'localhost'"),
        password: agent,
        require: "NONE",
        grants: &["GRANT ALL ON *.* TO @ WITH GRANT OPTION"],
    };
    let mut statements = vec![
        "SET SESSION sql_mode = ''".to_owned(),
        "SET SESSION sql_log_bin = 0".to_owned(),
        "SET GLOBAL super_read_only = OFF".to_owned(),
    ];
    statements.extend(statements_for(&own));
    statements.extend(statements_for(&tool));
    statements.extend(network(credentials));
    // Made by --initialize-insecure, without a password.
    statements.push("DROP USER IF EXISTS 'root'@'localhost'".to_owned());
    statements.push("SET GLOBAL super_read_only = ON".to_owned());
    statements.join(";\n") + ";\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(password: &str) -> Credentials {
        let password = Password::new(password);
        Credentials {
            root: password.clone(),
            operator: password.clone(),
            replication: password.clone(),
            clone: password,
        }
    }

    #[test]
    fn the_server_ends_read_only_and_nothing_is_logged() {
        let text = init_file(&credentials("pw"), &Password::new("own"), &Password::new("tool"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "SET SESSION sql_mode = '';");
        assert_eq!(lines[1], "SET SESSION sql_log_bin = 0;");
        assert_eq!(lines.last(), Some(&"SET GLOBAL super_read_only = ON;"));
    }

    #[test]
    fn each_statement_is_one_line_whatever_the_password_is() {
        let plain =
            init_file(&credentials("pw"), &Password::new("own"), &Password::new("tool")).lines().count();
        let text =
            init_file(&credentials("a\nb'; DROP USER x;\\"), &Password::new("own"), &Password::new("tool"));
        assert_eq!(text.lines().count(), plain);
        assert!(text.lines().all(|line| line.ends_with(';')));
    }

    #[test]
    fn the_password_of_one_account_is_not_replaced_by_names() {
        let statements = network(&credentials("a@b"));
        assert!(statements.iter().any(|s| s.contains("IDENTIFIED BY 'a@b'")));
        assert!(statements.contains(&"GRANT REPLICATION SLAVE ON *.* TO 'mainstay_repl'@'%'".to_owned()));
    }
}
