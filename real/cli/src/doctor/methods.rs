//! Methods: what io_uring can do here, and which method "auto" stands for. The library tries a ring, and
//! knows why there is none.

use handfast::{Method, MethodChoice, MethodRefusal};

use super::finding::Finding;

/// Tries a ring: whether there are any, whether they keep the results of the dead, and what "auto" makes
/// of that.
pub fn findings(choice: &MethodChoice) -> [Finding; 3] {
    [ring(choice), results_of_dead(choice), auto(choice)].map(Finding::optional)
}

/// What works, in a sentence, where method sync does.
pub fn verdict(choice: &MethodChoice) -> &'static str {
    match refusal(choice) {
        None => "handfast works here: by the methods sync, worker and io_uring",
        Some(_) => "handfast works here: by the methods sync and worker, not by io_uring",
    }
}

/// What to do where "auto" stands for worker.
const WORKERS: &str = ": run workers (`handfast worker`, `Process::work`), or IO is executed in place; see \
                       `Pool::workers()`; handfast copy runs its own";

fn refusal(choice: &MethodChoice) -> Option<&MethodRefusal> {
    choice.refusals.iter().find(|refusal| refusal.method == Method::IoUring)
}

fn ring(choice: &MethodChoice) -> Finding {
    const NAME: &str = "io_uring";
    match refusal(choice) {
        None => Finding::yes(NAME, "a ring was made, and did what it was told"),
        Some(MethodRefusal { cause, remedy, .. }) => {
            Finding::no(NAME, format!("{cause}: {remedy}"))
        }
    }
}

fn results_of_dead(choice: &MethodChoice) -> Finding {
    const NAME: &str = "results of the dead";
    match choice.shares_completions {
        Some(true) => Finding::yes(
            NAME,
            "completions are put into the pool's memory: what a dead process had in its ring still \
             gets its result",
        ),
        Some(false) => Finding::no(
            NAME,
            "completions are private to each process: those who wait for a dead one's IO learn that it \
             died, and not the result: use a kernel of version 6.10 or later",
        ),
        None => Finding::no(
            NAME,
            "there are no rings: what a dead process had not executed itself or given to a worker is \
             lost",
        ),
    }
}

fn auto(choice: &MethodChoice) -> Finding {
    let instead = choice.refusals.iter().map(|refusal| refusal.method.name()).collect::<Vec<_>>();
    let because = match instead.join(" and ") {
        none if none.is_empty() => String::new(),
        others => format!(", because there is no {others}"),
    };
    let advice = if choice.method == Method::Worker { WORKERS } else { "" };
    Finding::yes("method auto", format!("stands for {}{because}{advice}", choice.method))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(method: Method, shares_completions: Option<bool>) -> MethodChoice {
        MethodChoice { method, refusals: Vec::new(), shares_completions }
    }

    #[test]
    fn a_refused_ring_is_told_with_cause_and_remedy_and_auto_says_what_it_takes_instead() {
        let (cause, remedy) = ("a filter".to_owned(), "change it".to_owned());
        let refused = MethodRefusal { method: Method::IoUring, cause, remedy };
        let worker = MethodChoice { refusals: vec![refused], ..choice(Method::Worker, None) };
        assert_eq!(ring(&worker), Finding::no("io_uring", "a filter: change it"));
        let text = auto(&worker).text;
        let told =
            "stands for worker, because there is no io_uring: run workers (`handfast worker`";
        assert!(text.starts_with(told) && text.contains("`Pool::workers()`"), "{text}");
        assert!(verdict(&worker).ends_with("sync and worker, not by io_uring"));
        assert!(!results_of_dead(&worker).works);
    }

    #[test]
    fn whether_the_results_of_the_dead_survive_is_told() {
        for shares in [true, false] {
            let choice = choice(Method::IoUring, Some(shares));
            assert_eq!(results_of_dead(&choice).works, shares);
            assert!(ring(&choice).works);
            assert_eq!(auto(&choice).text, "stands for io_uring");
        }
    }
}
