FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/usr/local/bin/relay ./cmd/relay \
	&& mkdir -p /out/etc/ssl/certs /out/var/lib/postern /out/tmp \
	&& echo "postern:x:10025:10025::/var/lib/postern:/" >/out/etc/passwd \
	&& cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ \
	&& cp "$(go env GOROOT)/lib/time/zoneinfo.zip" /out/etc/zoneinfo.zip

# Nothing but the relay: no shell, no package manager, no root.
FROM scratch
COPY --from=build --chown=10025:10025 /out/ /
ENV ZONEINFO=/etc/zoneinfo.zip
USER 10025:10025
VOLUME /var/lib/postern
EXPOSE 2525 8025
# /livez would need a client for HTTP; the image holds nothing but the relay.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/usr/local/bin/relay", "health", "-config", "/etc/postern/relay.toml"]
ENTRYPOINT ["/usr/local/bin/relay"]
CMD ["serve", "-config", "/etc/postern/relay.toml"]
