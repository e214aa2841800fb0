"""Known mistakes, and the checks that notice them: `make mutants`.

A mutant is a mistake that somebody could make. Each names the check that must fail when it is made:
an invariant of the simulation for a wrong design (tests/simulation/mutants.py), a test for an edit
of one place in the code or in the template (edits.py).
"""
