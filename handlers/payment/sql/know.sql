update payment_orders set known = $2 where order_id = $1 and known < $2
