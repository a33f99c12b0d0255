setSecurityPollSuffix("")  -- else dnsdist asks the system resolver for its security status (leaves loopback)
setLocal("127.0.0.1:5300")
addDOHLocal("127.0.0.1:8443", "@DIR@/conf/tls/cert.pem", "@DIR@/conf/tls/key.pem", "/dns-query", {reusePort=false})
addAction(AllRule(), SpoofAction({"45.0.0.1"}, {ttl=3600}))
