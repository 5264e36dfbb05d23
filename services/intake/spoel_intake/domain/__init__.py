"""Intake's domain: patients, cases, the safety questionnaire, the advice, the staff register. Pure."""
