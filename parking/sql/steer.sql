select {{schema}}.steer_operations()
