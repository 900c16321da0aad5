"""Asks rows of patients, studies, series and instances: for peers, for those who look after files, in figures."""
