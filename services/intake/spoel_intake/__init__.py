"""Referral, screening, indication and consent."""
