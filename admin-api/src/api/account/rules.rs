//! What makes a password good enough: Django's four validators, with their words.

use super::common_passwords::is_common;

/// Whose password it is; it must not resemble them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) email: &'a str,
    pub(crate) first_name: &'a str,
    pub(crate) last_name: &'a str,
}

/// Everything that is wrong with a password, nothing when it is good.
pub(crate) fn check_password(password: &str, owner: Owner<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let attributes = [
        ("first name", owner.first_name),
        ("last name", owner.last_name),
        ("email", owner.email),
    ];
    for (name, value) in attributes {
        if resembles(password, value) {
            wrong.push(format!("The password is too similar to the {name}."));
            break;
        }
    }
    if password.chars().count() < 8 {
        wrong.push("This password is too short. It must contain at least 8 characters.".to_owned());
    }
    if is_common(password) {
        wrong.push("This password is too common.".to_owned());
    }
    if !password.is_empty() && password.chars().all(char::is_numeric) {
        wrong.push("This password is entirely numeric.".to_owned());
    }
    wrong
}

/// Shares seven tenths of its characters with the value or a word of it (difflib's `quick_ratio`).
fn resembles(password: &str, value: &str) -> bool {
    let password = password.to_lowercase();
    let value = value.to_lowercase();
    let words = value.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.chain([value.as_str()]).any(|part| {
        let (password_len, part_len) = (password.chars().count(), part.chars().count());
        let far_longer = password_len >= 10 * part_len && part_len * 20 < 7 * password_len;
        !part.is_empty() && !far_longer && {
            let shared = shared_characters(&password, part);
            20 * shared >= 7 * (password_len + part_len)
        }
    })
}

fn shared_characters(one: &str, other: &str) -> usize {
    let mut left: Vec<char> = other.chars().collect();
    one.chars()
        .filter(|c| match left.iter().position(|other| other == c) {
            Some(at) => {
                left.swap_remove(at);
                true
            }
            None => false,
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str) -> Vec<String> {
        let owner = Owner {
            email: "alexander@example.com",
            first_name: "A",
            last_name: "B",
        };
        check_password(password, owner)
    }

    #[test]
    fn the_four_validators() {
        const SHORT: &str = "This password is too short. It must contain at least 8 characters.";
        const COMMON: &str = "This password is too common.";
        assert_eq!(check("abc"), [SHORT, COMMON]);
        assert_eq!(
            check("12345678"),
            [COMMON, "This password is entirely numeric."]
        );
        assert_eq!(
            check("alexander1"),
            ["The password is too similar to the email.", COMMON]
        );
        assert!(check("Sup3r-s3cret-pw!").is_empty());
    }
}
