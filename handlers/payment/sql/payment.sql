select state, coalesce(payment, '') from payment_payments where invoice = $1
