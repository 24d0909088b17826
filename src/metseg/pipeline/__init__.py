"""Study in, result out: guard, predict, label, measure, write; one case or many."""
