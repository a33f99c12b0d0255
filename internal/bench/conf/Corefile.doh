.:5605 {
  bind 127.0.0.1
  forward . https://127.0.0.1:8443 {
    tls @DIR@/conf/tls/ca.pem
    tls_servername localhost
  }
}
