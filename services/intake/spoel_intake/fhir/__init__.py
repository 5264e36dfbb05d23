"""The FHIR R4 (4.0.1) door to the hospital's EHR: Patient and ServiceRequest."""
