"""How bytes travel: serial lines, Modbus TCP, HTTP, captures, MQTT. Reading and sending happen here and nowhere else."""
