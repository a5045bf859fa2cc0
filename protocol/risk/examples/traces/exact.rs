//! The chance of loss in the next hour, in floats and with the true rates: the judge of all policies.

use crate::world::Profile;

/// Loss, margin with `k + f`, margin with `k + b`.
pub type Chances = [f64; 3];

pub struct Truth {
    pub node: f64,
    pub domain: f64,
}

impl Truth {
    pub fn of(profile: &Profile, shared: bool) -> Truth {
        let domain = if shared { profile.disaster / (profile.domain_outage * 24.0) } else { 0.0 };
        Truth { node: 1.0 / (profile.departure * 24.0), domain }
    }
}

/// Tails of the weight lost within an hour among nodes with `weights` in `domains`: at least each of `from`.
pub fn tails(truth: &Truth, weights: &[u16], domains: &[u16], domain_count: usize, from: [u32; 3]) -> Chances {
    let most = weights.iter().map(|weight| usize::from(*weight)).sum::<usize>();
    let mut total = vec![1.0f64];
    for domain in 0..domain_count {
        let mut inside = vec![1.0f64];
        for (node, weight) in weights.iter().enumerate() {
            let weight = usize::from(*weight);
            if usize::from(domains[node]) != domain || weight == 0 {
                continue;
            }
            let mut next = vec![0.0; inside.len() + weight];
            for (lost, chance) in inside.iter().enumerate() {
                next[lost] += chance * (1.0 - truth.node);
                next[lost + weight] += chance * truth.node;
            }
            inside = next;
        }
        inside.iter_mut().for_each(|chance| *chance *= 1.0 - truth.domain);
        if let Some(all) = inside.last_mut() {
            *all += truth.domain;
        }
        let mut next = vec![0.0; total.len() + inside.len() - 1];
        for (one, left) in total.iter().enumerate() {
            for (other, right) in inside.iter().enumerate() {
                next[one + other] += left * right;
            }
        }
        total = next;
    }
    from.map(|from| match from as usize {
        0 => 1.0,
        from if from > most => 0.0,
        from => total[from..].iter().rev().sum(),
    })
}
